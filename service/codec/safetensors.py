"""Bodies that are safetensors files, which a user of torch makes with one line of Python.

Source of the format: the "Format" section of the safetensors README. A file is N, an unsigned 64-bit
little-endian integer; N bytes of JSON, which begin with `{` and may end in spaces; the data. The JSON maps a
tensor's name to its dtype, its shape, and its begin and end in the data, which the tensors cover without
gaps; the name `__metadata__` holds strings. The safetensors package itself reads a file only into copies, so
this module parses the short header, and returns views.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from runtime_ext import Output, TensorSpec
from trtserve.codec.datatypes import DATATYPES, FROM_SAFETENSORS
from trtserve.codec.request import Form, InferRequest, Input
from trtserve.codec.tensor import MOST_DOCUMENT_BYTES, check_bytes, check_name, check_shape, check_tensors
from trtserve.errors import InvalidInput, TooLarge
from trtserve.text import shown

MEDIA_TYPE = "application/x-safetensors"
LENGTH_BYTES = 8


def decode(body: bytes | memoryview) -> InferRequest:
    """A request whose inputs are the file's tensors, as views on the body. Raises InvalidInput, TooLarge."""
    view = memoryview(body)
    length = int.from_bytes(view[:LENGTH_BYTES], "little")
    if len(body) < LENGTH_BYTES or length > len(body) - LENGTH_BYTES:
        raise InvalidInput(
            "The body is not a safetensors file, or not a whole one: its header is longer than the body."
        )
    if length > MOST_DOCUMENT_BYTES:
        raise TooLarge(
            f"The header of the safetensors file has {length} bytes; this server reads at most "
            f"{MOST_DOCUMENT_BYTES}."
        )
    header = _header(view[LENGTH_BYTES : LENGTH_BYTES + length])
    data = view[LENGTH_BYTES + length :]
    tensors = sorted((_tensor(name, described) for name, described in header.items()), key=_place)
    inputs: list[Input] = []
    covered = 0
    for name, datatype, shape, begin, end in tensors:
        if begin != covered or not begin <= end <= len(data):
            raise InvalidInput(
                f"Tensor {name!r} lies at bytes {shown(begin)} to {shown(end)}; the one before it ends at "
                f"{covered}, the data at {len(data)}."
            )
        check_bytes(name, datatype, shape, end - begin)
        inputs.append((name, datatype, shape, data[begin:end]))
        covered = end
    if covered != len(data):
        raise InvalidInput(f"{len(data) - covered} bytes of the safetensors file belong to no tensor.")
    return InferRequest(inputs=inputs, answer=Form.SAFETENSORS)


def encode(
    outputs: Sequence[Output], *, model_name: str, model_version: str
) -> tuple[list[bytes | memoryview], dict[str, str]]:
    """The answer as a safetensors file, in parts, and its headers; see check_outputs()."""
    header: dict[str, Any] = {"__metadata__": {"model_name": model_name, "model_version": model_version}}
    blobs: list[memoryview] = []
    offset = 0
    for output in outputs:
        data = memoryview(output)
        end = offset + data.nbytes
        header[output.name] = {
            "dtype": DATATYPES[output.datatype].safetensors,
            "shape": output.shape,
            "data_offsets": [offset, end],
        }
        blobs.append(data)
        offset = end
    document = orjson.dumps(header)
    document += b" " * (-len(document) % LENGTH_BYTES)  # the data then begins at a multiple of 8 bytes
    head = len(document).to_bytes(LENGTH_BYTES, "little") + document
    return [head, *blobs], {"Content-Type": MEDIA_TYPE}


def check_outputs(specs: Sequence[TensorSpec]) -> None:
    """Raise InvalidInput if a safetensors file cannot have one of these outputs: before the engine runs."""
    for spec in specs:
        if spec.datatype not in DATATYPES:
            what = "strings, BYTES" if spec.datatype == "BYTES" else spec.datatype
            raise InvalidInput(
                f"Output {spec.name!r} is {what}, which a safetensors file cannot have: accept "
                "application/octet-stream besides, for the protocol's binary form, or application/json; or "
                "ask in the protocol's JSON for other outputs alone."
            )


def _header(document: memoryview) -> dict[str, Any]:
    try:
        header = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The header of the safetensors file is not JSON: {error}.") from None
    if not isinstance(header, dict):
        raise InvalidInput("The header of the safetensors file is not a JSON object.")
    header.pop("__metadata__", None)
    check_tensors("inputs", len(header))
    return header


class Tensor(NamedTuple):
    """What a header says about a tensor; `begin` and `end` are byte offsets from the start of the data."""

    name: str
    datatype: str
    shape: list[int]
    begin: int
    end: int


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.begin, tensor.end


def _tensor(name: str, described: object) -> Tensor:
    check_name("A tensor of the safetensors file", name)
    match described:
        case {"dtype": str(dtype), "shape": shape, "data_offsets": [int(begin), int(end)]}:
            if dtype not in FROM_SAFETENSORS:
                allowed = ", ".join(FROM_SAFETENSORS)
                raise InvalidInput(f"Tensor {name!r} has the dtype {shown(dtype)}; allowed are {allowed}.")
            dims = check_shape(name, shape, floats=False)  # like the safetensors package
            return Tensor(name, FROM_SAFETENSORS[dtype].name, dims, begin, end)
        case _:
            raise InvalidInput(
                f"Tensor {name!r} of the safetensors file lacks a valid dtype, shape or data_offsets."
            )
