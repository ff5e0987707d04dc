"""Turns a ModelInferRequest into the codec's InferRequest.

Its fields are rewritten as the protocol's JSON, so that both are checked in one place and refused with the
same sentences; its data is not copied.
"""

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from trtserve.codec import InferRequest, open_inference
from trtserve.codec.datatypes import check as check_datatype
from trtserve.codec.region_parameters import REGION
from trtserve.codec.tensor import check_name, check_shape, check_tensors
from trtserve.errors import InvalidInput, TooLarge
from trtserve.inference.call import RequestHead
from trtserve.rpc import wire
from trtserve.rpc.contents import Contents
from trtserve.rpc.heads import RequestHeads
from trtserve.rpc.open_inference_pb2 import ModelInferRequest
from trtserve.rpc.parameters import plain

if TYPE_CHECKING:
    from collections.abc import Sequence


class Requests:
    """Reads request messages, and keeps the heads that they share. Belongs to the event loop."""

    def __init__(self) -> None:
        self._heads = RequestHeads()

    def read(self, message: bytes) -> tuple[RequestHead, InferRequest]:
        """The head and the request in a message. Raises InvalidInput, TooLarge and Unsupported."""
        parts = wire.split(message)
        given = parse(ModelInferRequest, parts.rest)
        return self._heads.of(given.model_name, given.model_version), _request(given, parts)


def id_of(message: bytes) -> str:
    """The id of a request that may have faults; empty if it has none, or cannot be read at all."""
    try:
        return str(ModelInferRequest.FromString(wire.split(message).rest).id)
    except (DecodeError, InvalidInput, TooLarge):
        return ""


def parse(kind: Any, message: bytes) -> Any:
    """Parse a message of this class. Raises InvalidInput."""
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidInput(f"The message is not a valid {kind.DESCRIPTOR.full_name}.") from None


def _request(given: Any, parts: wire.Split) -> InferRequest:
    check_tensors("inputs", len(given.inputs))
    check_tensors("outputs", len(given.outputs))
    inputs = [_input(number, tensor) for number, tensor in enumerate(given.inputs)]
    raw = _place_data(given, inputs, parts)
    outputs = [{"name": output.name, "parameters": plain(output.parameters)} for output in given.outputs]
    root = {
        "parameters": plain(given.parameters) | {"binary_data_output": True},
        "inputs": inputs,
        "outputs": outputs,
    }
    if given.id:
        root["id"] = given.id
    described = open_inference.describe_object(root)
    request = described.request
    request.inputs = [
        (*tensor, there if there is not None else raw[number])
        for number, (tensor, there) in enumerate(zip(described.tensors, described.data, strict=True))
    ]
    return request


def _input(number: int, tensor: Any) -> dict[str, Any]:
    """An input as JSON would have it, without its data."""
    parameters = plain(tensor.parameters)
    parameters.pop("binary_data_size", None)
    name = check_name(f"Input {number}", tensor.name)
    return {
        "name": name,
        "datatype": check_datatype(name, tensor.datatype),
        "shape": check_shape(name, list(tensor.shape)),
        "parameters": parameters,
    }


def _place_data(given: Any, inputs: list[dict[str, Any]], parts: wire.Split) -> dict[int, object]:
    """Add its data, or its size, to each input; return the raw contents by the inputs' numbers."""
    raw: Sequence[bytes | memoryview] = parts.raw or given.raw_input_contents
    sent = [number for number, tensor in enumerate(inputs) if REGION not in tensor["parameters"]]
    if raw and len(raw) != len(sent):
        raise InvalidInput(
            f"The request has {len(raw)} raw_input_contents for {len(sent)} inputs: there must be one for "
            "each, in their order, or none. An input in shared memory has none."
        )
    for number, tensor in enumerate(given.inputs):
        has_contents = number in parts.contents or tensor.HasField("contents")
        if has_contents and (raw or number not in sent):
            other = "the request has raw_input_contents too" if raw else "is in shared memory too"
            raise InvalidInput(f"Tensor {tensor.name!r} has contents, and {other}: give its data in one way.")
    for place, number in enumerate(sent):
        if raw:  # for the codec, the data is behind the JSON
            inputs[number]["parameters"]["binary_data_size"] = len(raw[place])
        else:
            cut: Sequence[bytes | memoryview] = parts.contents.get(number, ())
            inputs[number]["data"] = Contents(cut or [given.inputs[number].contents.SerializeToString()])
    return dict(zip(sent, raw, strict=True)) if raw else {}
