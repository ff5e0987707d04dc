"""The answer to an inference as the bytes of a ModelInferResponse."""

from collections.abc import Sequence

from runtime_ext import Output
from trtserve.codec import region_parameters
from trtserve.codec.request import RegionPart
from trtserve.inference.calls import Call
from trtserve.rpc import wire
from trtserve.rpc.open_inference_pb2 import ModelInferResponse, ModelStreamInferResponse

NOTHING = memoryview(b"")


def _final() -> bytes:
    message = ModelInferResponse()
    message.parameters["triton_final_response"].bool_param = True
    written: bytes = message.SerializeToString()
    return written


FINAL = _final()
"""An answer in a stream says so: its request has no other. Source: Triton's "Parameters Extension"."""


def response(call: Call, outputs: Sequence[Output]) -> wire.Parts:
    """In parts, of which the large ones are views on `outputs`.

    These are all of the engine's; the answer has those that were selected, each with its raw contents. An
    output in shared memory has empty ones: clients find an output's by its number.
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


def in_stream(answer: wire.Parts) -> wire.Parts:
    """An answer in a stream, marked as the last of its request, for clients that wait for a last one."""
    return wire.in_stream(FINAL, *answer)


def error_in_stream(sentence: str, id: str) -> bytes:
    message: bytes = ModelStreamInferResponse(
        error_message=sentence, infer_response=ModelInferResponse(id=id)
    ).SerializeToString()
    return message
