"""Encodes the answer to an inference as a ModelInferResponse."""

from collections.abc import Sequence

from runtime_ext import Output
from trtserve.codec import region_parameters
from trtserve.codec.request import RegionPart
from trtserve.inference.call import Call
from trtserve.rpc import wire
from trtserve.rpc.open_inference_pb2 import ModelInferResponse, ModelStreamInferResponse

NOTHING = memoryview(b"")


def _final() -> bytes:
    message = ModelInferResponse()
    message.parameters["triton_final_response"].bool_param = True
    written: bytes = message.SerializeToString()
    return written


FINAL = _final()
"""Marks an answer in a stream as its request's last. Source: Triton's "Parameters Extension"."""


def response(call: Call, outputs: Sequence[Output]) -> wire.Parts:
    """The ModelInferResponse in parts; its large parts are views on `outputs`, all of the engine's outputs.

    The answer has the selected outputs, each with its raw contents. An output in shared memory has empty
    ones, because clients find an output's contents by its number.
    """
    answer = ModelInferResponse(
        model_name=call.resolved.model_name,
        model_version=call.resolved.model_version,
        id=call.request.id or "",
    )
    raw: list[memoryview] = []
    for index, place in call.selected:
        output = outputs[index]
        data = memoryview(output)
        described = answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if isinstance(place, RegionPart):
            for parameter, value in region_parameters.described(place, data.nbytes).items():
                choice = "string_param" if isinstance(value, str) else "int64_param"
                setattr(described.parameters[parameter], choice, value)
            data = NOTHING
        raw.append(data)
    return wire.with_outputs(answer.SerializeToString(), raw)


def head(call: Call, outputs: Sequence[Output], *, of_stream: bool) -> bytes:
    """The fields of the answer without its raw contents, for a call whose request has no id.

    `of_stream`: marked as its request's last, for clients that wait for one.
    """
    described, *_ = response(call, outputs)
    return FINAL * of_stream + bytes(described)


def in_stream(answer: wire.Parts) -> wire.Parts:
    """An answer in a stream, marked as its request's last, for clients that wait for one."""
    return wire.in_stream(FINAL, *answer)


def error_in_stream(sentence: str, id: str) -> bytes:
    message: bytes = ModelStreamInferResponse(
        error_message=sentence, infer_response=ModelInferResponse(id=id)
    ).SerializeToString()
    return message
