"""Bodies of the Open Inference Protocol (version 2): JSON, alone or with binary tensors behind it.

Source: the protocol's "Inference Request" and Triton's "Binary Tensor Data Extension". In the binary form
the first `Inference-Header-Content-Length` bytes are JSON; behind it, in the order of the inputs, each input
with `parameters.binary_data_size` has that many bytes, little-endian.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime_ext import Output
from trtserve.codec import classes, datatypes, json_large, json_values, region_parameters, strings
from trtserve.codec.request import (
    HIGH,
    LONGEST_NS,
    LOW,
    NORMAL,
    InferRequest,
    Input,
    Place,
    RegionPart,
    RequestedOutput,
    Unread,
)
from trtserve.codec.tensor import Misshapen, check_bytes, check_name, check_shape, check_tensors
from trtserve.codec.whole import whole
from trtserve.errors import InvalidInput, Unsupported
from trtserve.text import cut, first_of, shown

HEADER_LENGTH = "Inference-Header-Content-Length"
JSON_HEADERS = {"Content-Type": "application/json"}
JOINED_BYTES = 65_536  # of an answer's JSON; parts of a longer one are not joined
LENGTH_DIGITS = 18  # at most, so that the number fits a 64-bit length
NEEDED = dict.fromkeys(
    ("name", "shape", "datatype")
)  # members of an input, in the order in which they are told
SHOWN_MEMBERS = 5  # of a JSON object in another form
SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
PRIORITIES = {0: NORMAL, 1: HIGH, 2: NORMAL, 3: LOW}
"""`parameters.priority`: 1 is the highest; 0 and values beyond the lowest are the default, as in Triton."""


class Values(Unread):
    """The `data` of an input as parsed JSON: a list of Python objects, or another value if it is invalid."""

    __slots__ = ("_data",)

    def __init__(self, data: object) -> None:
        self._data = data

    def text_bytes(self) -> int:
        return 0  # the document is short

    def read_bytes(self, datatype: str, shape: list[int]) -> int:
        return 0

    def read(self, name: str, datatype: str, shape: list[int]) -> object:
        if datatype == "BYTES":
            return strings.to_bytes(name, shape, self._data)
        return json_values.to_array(name, datatype, shape, self._data)


@dataclass(slots=True)
class Described:
    """A request without the data behind its JSON: requests with the same JSON share it."""

    request: InferRequest  # whose inputs have no data yet
    tensors: list[tuple[str, str, list[int]]]  # of each input: name, datatype, shape
    data: list[Any]  # of each input: its Unread data, its RegionPart, or None if it is a blob
    blob_bytes: list[int]  # of each input; 0 if it is not a blob

    @property
    def all_blobs(self) -> bool:
        """True if every input lies behind the JSON: the blobs, in order, are then the inputs' data."""
        return all(data is None for data in self.data)

    @property
    def has_strings(self) -> bool:
        """True if an input is BYTES: its length tells nothing of its elements."""
        return any(datatype == "BYTES" for _, datatype, _ in self.tensors)

    def bind(self, blobs: memoryview) -> InferRequest:
        """The request with its inputs; those that are not in the JSON are views on `blobs`."""
        inputs: list[Input] = []
        offset = 0
        for (name, datatype, shape), data, size in zip(self.tensors, self.data, self.blob_bytes, strict=True):
            if data is not None:
                inputs.append((name, datatype, shape, data))
                continue
            end = offset + size
            if end > len(blobs):
                left = len(blobs) - offset
                raise InvalidInput(f"Tensor {name!r} takes {size} bytes; only {left} are left in the body.")
            blob = blobs[offset:end]
            inputs.append((name, datatype, shape, blob))
            offset = end
        if offset != len(blobs):
            raise InvalidInput(f"{len(blobs) - offset} bytes of the body belong to no input.")
        self.request.inputs = inputs
        return self.request


def describe(document: bytes | memoryview) -> Described:
    """A request from its JSON alone. Raises InvalidInput and Unsupported."""
    root = _parse(document)
    if not isinstance(root, dict):
        raise Misshapen("The request is not a JSON object.")
    return describe_object(root)


def describe_object(root: dict[str, Any]) -> Described:
    """A request from its parsed JSON. Raises InvalidInput and Unsupported."""
    tensors = root.get("inputs")
    if not isinstance(tensors, list):
        raise _no_inputs(root)
    parameters = _parameters(root, "the request")
    check_tensors("inputs", len(tensors))
    if not isinstance(root.get("id", ""), str):
        raise InvalidInput(f"The request's id is {shown(root['id'])}; it must be a string.")
    binary_outputs = False
    if parameters:  # most requests have none
        binary_outputs = _flag(parameters, "binary_data_output", False)
        _check_sequence(parameters)
    outputs, shared = _outputs(root, binary_outputs) if "outputs" in root else (None, False)
    described = Described(
        InferRequest(
            inputs=[],
            outputs=outputs,
            binary_outputs=binary_outputs,
            id=root.get("id"),
            timeout_ns=_timeout_ns(parameters) if parameters else None,
            priority=_priority(parameters) if parameters else NORMAL,
            shared=shared,
        ),
        [],
        [],
        [],
    )
    for number, tensor in enumerate(tensors):
        if not isinstance(tensor, dict):
            raise Misshapen(f"Input {number} is not a JSON object.")
        _describe_input(described, number, tensor)
    return described


def decode(document: bytes | memoryview, blobs: memoryview) -> InferRequest:
    """A request from its JSON and the bytes behind it; its inputs are views on these bytes."""
    return describe(document).bind(blobs)


def split(body: bytes | memoryview, header_length: str) -> tuple[memoryview, memoryview]:
    """The JSON and the blobs of a body in the binary form."""
    digits = header_length.isascii() and header_length.isdecimal() and len(header_length) <= LENGTH_DIGITS
    if not digits or int(header_length) > len(body):
        raise InvalidInput(
            f"{HEADER_LENGTH} is {shown(header_length)}; it must be the length of the JSON at the start of "
            f"the body, which has {len(body)} bytes."
        )
    view = memoryview(body)
    return view[: int(header_length)], view[int(header_length) :]


def encode(
    outputs: Sequence[tuple[Output, Place]],
    *,
    model_name: str,
    model_version: str,
    id: str | None,
    written: Mapping[str, bytes],
) -> tuple[list[bytes | memoryview], dict[str, str]]:
    """The answer's body in parts, and its headers; each output is given with its place.

    `written` has, by output name, data that has already been written as JSON.
    """
    document = [begin(model_name, model_version, id)]
    blobs: list[bytes | memoryview] = []
    for output, place in outputs:
        data = memoryview(output)
        tensor: dict[str, Any] = {"name": output.name, "shape": output.shape, "datatype": output.datatype}
        if isinstance(place, RegionPart):
            document.append(orjson.dumps(tensor))  # C++ clients take any parameters for those of a blob.
        elif place:
            document.append(orjson.dumps(tensor | {"parameters": {"binary_data_size": data.nbytes}}))
            blobs.append(data)
        else:
            text = written.get(output.name) or write(output.name, output.datatype, data)
            document += [before_data(tensor), text, b"}"]
        document.append(b",")
    document[-1 if outputs else len(document) :] = [b"]}"]
    length = sum(map(len, document))
    if length <= JOINED_BYTES:
        document = [b"".join(document)]
    if not blobs:
        return [*document], JSON_HEADERS
    return [*document, *blobs], {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}


def write(name: str, datatype: str, data: memoryview) -> bytes:
    """The elements of an output as a flat JSON list. Safe in another thread.

    Raises InvalidInput for strings that JSON cannot hold.
    """
    return strings.to_json(name, data) if datatype == "BYTES" else json_values.write(datatype, data)


def begin(model_name: str, model_version: str, id: str | None) -> bytes:
    """An answer's JSON up to its first output."""
    answer = {"model_name": model_name, "model_version": model_version}
    return orjson.dumps(answer if id is None else answer | {"id": id})[:-1] + b',"outputs":['


def before_data(tensor: dict[str, Any]) -> bytes:
    """An output's JSON up to its data, its last member."""
    return orjson.dumps(tensor)[:-1] + b',"data":'


def _parse(document: bytes | memoryview) -> object:
    try:
        return (
            json_large.parse(document) if len(document) >= json_large.LEAST_BYTES else orjson.loads(document)
        )
    except orjson.JSONDecodeError as error:
        if not document:
            raise InvalidInput("The body is empty; it must be JSON with the inputs.") from None
        raise InvalidInput(
            f"The body is not JSON (which has no NaN or Infinity): {error}. If it is in the binary form, "
            f"{HEADER_LENGTH} says how much of it is JSON."
        ) from None


def _no_inputs(root: dict[str, Any]) -> Misshapen:
    """The error for JSON in another form, such as TensorFlow Serving's, or {"x": [1, 2]}."""
    if "inputs" in root:
        return Misshapen(f"The request's `inputs` is {shown(root['inputs'])}; it must be a list of tensors.")
    members = first_of([cut(name) for name in root], SHOWN_MEMBERS)
    return Misshapen(f"The request must have `inputs`, a list of tensors; it has {members or 'no members'}.")


def _describe_input(described: Described, number: int, tensor: dict[str, Any]) -> None:
    if not tensor.keys() >= NEEDED.keys():
        missing = [key for key in NEEDED if key not in tensor]
        raise Misshapen(f"Input {number} has no {' and no '.join(f'`{key}`' for key in missing)}.")
    name = check_name(f"Input {number}", tensor.get("name"))
    datatype = datatypes.check(name, tensor.get("datatype"))
    shape = check_shape(name, tensor.get("shape"))
    size = region = None
    if "parameters" in tensor:
        parameters = _parameters(tensor, f"tensor {name!r}")
        size = parameters.get("binary_data_size")
        region = region_parameters.region(f"tensor {name!r}", parameters)
    if ("data" in tensor) + (size is not None) + (region is not None) != 1:
        raise _not_one_way(name, tensor, size, region)
    data: Any = region
    blob_bytes = 0
    if region is not None:
        described.request.shared = True
        check_bytes(name, datatype, shape, region.byte_size)
    elif size is not None:
        blob_bytes = check_bytes(name, datatype, shape, size)
    else:
        data = tensor["data"]
        if isinstance(data, Unread):
            described.request.unread = True
        else:
            data = Values(data)
    described.tensors.append((name, datatype, shape))
    described.data.append(data)
    described.blob_bytes.append(blob_bytes)


def _not_one_way(name: str, tensor: dict[str, Any], size: object, region: RegionPart | None) -> InvalidInput:
    """The error for a tensor whose data is missing, or is given in several ways."""
    there = {
        "data": "data" in tensor,
        "parameters.binary_data_size": size is not None,
        "a shared memory region": region is not None,
    }
    given = [what for what, is_there in there.items() if is_there]
    if not given:
        return InvalidInput(f"Tensor {name!r} has neither {' nor '.join(there)}.")
    return InvalidInput(f"Tensor {name!r} has both {' and '.join(given)}; give its data in one way.")


def _outputs(root: dict[str, Any], binary_by_default: bool) -> tuple[list[RequestedOutput] | None, bool]:
    """The requested outputs, and whether any of them goes into shared memory; None: all outputs."""
    outputs = []
    shared = False
    for number, described in enumerate(_list(root, "outputs")):
        output = _object(described, f"Output {number}")
        name = check_name(f"Output {number}", output.get("name"))
        binary, region, count = binary_by_default, None, 0
        if "parameters" in output:
            parameters = _parameters(output, f"output {name!r}")
            count = classes.asked(name, parameters)
            binary = _flag(parameters, "binary_data", binary_by_default)
            region = region_parameters.region(f"output {name!r}", parameters)
            shared = shared or region is not None
        outputs.append(RequestedOutput(name, binary, region, count))
    return outputs or None, shared  # an empty list asks for all, like a missing one


def _check_sequence(parameters: dict[str, Any]) -> None:
    """Refuse a sequence. Source: Triton's "Sequence Extension", where an ID of 0 or "" also means none."""
    for name in SEQUENCE:
        value = parameters.get(name)
        if value not in (None, 0, False, ""):
            raise Unsupported(
                f"The request has the parameter {name}, {shown(value)}: an engine keeps nothing from one "
                "request to the next, so there are no sequences. Send what it needs with each request."
            )


def _timeout_ns(parameters: dict[str, Any]) -> int | None:
    """`parameters.timeout`, which is in microseconds; 0 means the server's. Both are as in Triton."""
    given = parameters.get("timeout", 0)
    timeout = whole(given)
    if timeout is None or timeout < 0:
        raise InvalidInput(
            f"The parameter timeout is {shown(given)}; it must be a whole number of microseconds."
        )
    return min(timeout * 1_000, LONGEST_NS) or None


def _priority(parameters: dict[str, Any]) -> int:
    given = parameters.get("priority", 0)
    priority = whole(given)
    if priority is None or priority < 0:
        raise InvalidInput(
            f"The parameter priority is {shown(given)}; it must be 1 (high), 2 (normal) or 3 (low)."
        )
    return PRIORITIES.get(priority, NORMAL)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} is not a JSON object.")
    return value


def _list(described: dict[str, Any], key: str) -> list[Any]:
    value = described.get(key)
    if not isinstance(value, list):
        raise InvalidInput(f"The request must have `{key}`, a list.")
    check_tensors(key, len(value))
    return value


def _parameters(described: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = described.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInput(f"The parameters of {what} are not a JSON object.")
    return parameters


def _flag(parameters: dict[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"The parameter {key} is {shown(value)}; it must be true or false.")
    return value
