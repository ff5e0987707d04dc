"""A second, plain implementation of the protocol's binary extension, to compare the codec with.

It follows the protocol's text element by element, with json and struct alone. It shares nothing with
service/codec but this server's own limits (names, ranks). It is slow by design. Like the codec, it leaves it
to the runtime to count the strings of the binary form (tests/seam/backends/torchscript/test_strings.py).
"""

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

FORMATS = {
    "UINT8": "<B",
    "UINT16": "<H",
    "UINT32": "<I",
    "UINT64": "<Q",
    "INT8": "<b",
    "INT16": "<h",
    "INT32": "<i",
    "INT64": "<q",
    "FP16": "<e",
    "FP32": "<f",
    "FP64": "<d",
}
SIZES = {name: struct.calcsize(format) for name, format in FORMATS.items()} | {"BOOL": 1, "BF16": 2}


class Refused(Exception):
    """The bytes are not a valid request."""


@dataclass
class Tensor:
    name: str
    datatype: str
    shape: list[int]
    data: bytes | tuple[str, int, int]  # or a place in shared memory: region, offset, size


@dataclass
class Request:
    inputs: list[Tensor]
    outputs: list[tuple[str, object]] | None  # name; True: blob, False: JSON, or a place in shared memory
    binary_outputs: bool
    id: str | None


def require(condition: object, what: str = "") -> None:
    if not condition:
        raise Refused(what)


def parse_request(body: bytes, header_length: int | None) -> Request:
    """Parse a body, or raise Refused. `header_length` None: the body is JSON alone."""
    length = len(body) if header_length is None else header_length
    require(0 <= length <= len(body), "header length")
    root = _json(body[:length])
    parameters = _parameters(root)
    binary_outputs = parameters.get("binary_data_output", False)
    require(isinstance(binary_outputs, bool), "binary_data_output")
    require(isinstance(root.get("inputs"), list), "inputs")
    rest = body[length:]
    inputs = []
    for described in root["inputs"]:
        tensor, rest = _input(described, rest)
        inputs.append(tensor)
    require(not rest, "bytes are left")
    id = root.get("id", "")
    require(isinstance(id, str), "id")
    return Request(inputs, _outputs(root, binary_outputs), binary_outputs, root.get("id"))


def parse_answer(body: bytes, header_length: int | None) -> tuple[dict[str, Any], list[Tensor]]:
    """Return the JSON of an answer and its outputs."""
    length = len(body) if header_length is None else header_length
    root = _json(body[:length])
    rest = body[length:]
    tensors = []
    for described in root["outputs"]:
        size = described.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = _packed(described["datatype"], described["data"])
        else:
            require("data" not in described)
            data, rest = rest[:size], rest[size:]
            require(len(data) == size)
        tensors.append(Tensor(described["name"], described["datatype"], described["shape"], data))
    require(not rest)
    return root, tensors


def _json(document: bytes) -> dict[str, Any]:
    def refuse_constant(text: str) -> None:
        raise Refused(text)

    try:
        root = json.loads(document.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as failure:
        raise Refused(str(failure)) from None
    require(isinstance(root, dict), "no object")
    return dict(root)


def _parameters(described: dict[str, Any]) -> dict[str, Any]:
    parameters = described.get("parameters", {})
    require(isinstance(parameters, dict), "parameters")
    return dict(parameters)


def _name(name: object) -> str:
    require(isinstance(name, str) and len(str(name)) <= 1024, "name")
    return str(name)


def _integer(value: object, least: int = 0) -> int:
    value = _whole(value)
    require(least <= value < 2**63, "out of range")
    return value


def _whole(value: object) -> int:
    """Convert a number to int; a float must be whole and represent one integer only."""
    if isinstance(value, float):
        require(math.isfinite(value) and value % 1 == 0 and -(2**53) <= value <= 2**53, "not whole")
        return int(value)
    require(isinstance(value, int) and not isinstance(value, bool), "no integer")
    assert isinstance(value, int)
    return value


def _input(described: object, rest: bytes) -> tuple[Tensor, bytes]:
    require(isinstance(described, dict), "no object")
    assert isinstance(described, dict)
    name = _name(described.get("name"))
    datatype = described.get("datatype")
    require(isinstance(datatype, str) and (datatype in SIZES or datatype == "BYTES"), "datatype")
    assert isinstance(datatype, str)
    shape = described.get("shape")
    require(isinstance(shape, list) and len(shape) <= 64, "shape")
    assert isinstance(shape, list)
    elements = math.prod(_integer(dim) for dim in shape)
    parameters = _parameters(described)
    region = _region(parameters)
    size = parameters.get("binary_data_size")
    ways = [size is not None, "data" in described, region is not None]
    require(ways.count(True) == 1, "data in one way")
    data: bytes | tuple[str, int, int]
    if region is not None:
        _check_size(datatype, elements, region[2])
        data = region
    elif size is not None:
        size = _integer(size)
        _check_size(datatype, elements, size)
        data, rest = rest[:size], rest[size:]
        require(len(data) == size, "the body ends early")
    else:
        values = _flat(described["data"], shape)
        require(len(values) == elements, "number of elements")
        data = _packed(datatype, values)
    return Tensor(name, datatype, shape, data), rest


def _check_size(datatype: str, elements: int, size: int) -> None:
    if datatype != "BYTES":
        require(size == elements * SIZES[datatype], "size")


def _region(parameters: dict[str, Any]) -> tuple[str, int, int] | None:
    keys = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")
    if not any(key in parameters for key in keys):
        return None
    region, offset, size = keys
    require(region in parameters and size in parameters, "region")
    return _name(parameters[region]), _integer(parameters.get(offset, 0)), _integer(parameters[size])


def _outputs(root: dict[str, Any], binary_outputs: bool) -> list[tuple[str, object]] | None:
    if "outputs" not in root:
        return None
    require(isinstance(root["outputs"], list), "outputs")
    outputs: list[tuple[str, object]] = []
    for described in root["outputs"]:
        require(isinstance(described, dict), "no object")
        parameters = _parameters(described)
        binary = parameters.get("binary_data", binary_outputs)
        require(isinstance(binary, bool), "binary_data")
        require(_integer(parameters.get("classification", 0)) >= 0, "classification")
        region = _region(parameters)
        outputs.append((_name(described.get("name")), binary if region is None else region))
    return outputs or None


def _flat(data: object, shape: list[int]) -> list[Any]:
    """The elements in row-major order; the list is flat, or nested in every dimension."""
    require(isinstance(data, list), "no list")
    assert isinstance(data, list)
    if not any(isinstance(value, list) for value in data):
        return data
    return _nested(data, shape)


def _nested(data: object, shape: list[int]) -> list[Any]:
    if not shape:
        return [data]
    require(isinstance(data, list) and len(data) == shape[0], "nesting")
    assert isinstance(data, list)
    return [element for part in data for element in _nested(part, shape[1:])]


def _packed(datatype: str, values: list[Any]) -> bytes:
    return b"".join(_element(datatype, value) for value in values)


def _element(datatype: str, value: object) -> bytes:
    if datatype == "BYTES":
        require(isinstance(value, str), "no string")
        text = str(value).encode("utf-8")
        return struct.pack("<I", len(text)) + text
    if datatype == "BOOL":
        require(value is True or value is False or (type(value) is int and value in (0, 1)), "no bool")
        return b"\1" if value else b"\0"
    if datatype in FORMATS and type(value) is float and not datatype.startswith("FP"):
        value = _whole(value)
    floating = datatype in {"FP16", "BF16", "FP32", "FP64"}
    require(type(value) is int or (floating and type(value) is float), "no number")
    try:
        if datatype == "BF16":
            return _bfloat16(float(value))  # type: ignore[arg-type]
        packed = struct.pack(FORMATS[datatype], float(value) if floating else value)  # type: ignore[arg-type]
    except (struct.error, OverflowError) as failure:
        raise Refused(str(failure)) from None
    require(not floating or math.isfinite(struct.unpack(FORMATS[datatype], packed)[0]), "infinite")
    return packed


def _bfloat16(value: float) -> bytes:
    """The upper half of a float32, rounded to nearest, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    upper, lower = bits >> 16, bits & 0xFFFF
    if lower > 0x8000 or (lower == 0x8000 and upper % 2 == 1):
        upper += 1
    require(upper & 0x7FFF < 0x7F80, "infinite")
    return struct.pack("<H", upper)


def unpacked_strings(data: bytes) -> list[bytes]:
    elements = []
    while data:
        require(len(data) >= 4, "no length")
        (length,) = struct.unpack("<I", data[:4])
        require(len(data) - 4 >= length, "too short")
        elements.append(data[4 : 4 + length])
        data = data[4 + length :]
    return elements
