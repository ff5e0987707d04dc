"""Tensors with strings in the protocol's binary form, and back: safetensors, the other form, has none.

Source: Triton's "Binary Tensor Data Extension": JSON, then the tensors' bytes; each string behind its length.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from trtserve.errors import InvalidInput

HEADER_LENGTH = "Inference-Header-Content-Length"
MEDIA_TYPE = "application/octet-stream"
FAMILIES = {"f": "FP", "i": "INT", "u": "UINT"}
LENGTH_BYTES = 4

Array = np.ndarray[Any, Any]


def are_strings(tensor: object) -> bool:
    """True for an array of str or bytes, or what numpy makes one of."""
    if isinstance(tensor, np.ndarray):
        return tensor.dtype.kind in "OSU"
    while isinstance(tensor, list | tuple) and tensor:
        tensor = tensor[0]
    return isinstance(tensor, str | bytes)


def encode(tensors: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A request's body and headers. Raises InvalidInput."""
    described, blobs = [], []
    for name, tensor in tensors.items():
        strings = are_strings(tensor)
        array = np.asarray(tensor, dtype=object if strings else None, order="C")
        blob = _packed(name, array) if strings else _numbers(name, array)
        datatype = "BYTES" if strings else _datatype(array)
        described.append(
            {
                "name": name,
                "datatype": datatype,
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(blob)},
            }
        )
        blobs.append(blob)
    document = json.dumps({"inputs": described}).encode()
    headers = {"Content-Type": MEDIA_TYPE, HEADER_LENGTH: str(len(document))}
    return b"".join([document, *blobs]), headers


def decode(body: bytes, header_length: str) -> dict[str, Array]:
    """The outputs of an answer in this form; strings are bytes, and BF16 comes as FP32."""
    at = int(header_length)
    outputs = {}
    for output in json.loads(body[:at])["outputs"]:
        end = at + output["parameters"]["binary_data_size"]
        outputs[output["name"]] = _array(output["datatype"], output["shape"], body[at:end])
        at = end
    return outputs


def _packed(name: str, array: Array) -> bytes:
    parts: list[bytes] = []
    for element in array.ravel():
        if not isinstance(element, str | bytes):
            raise InvalidInput(f"Input {name!r} has {element!r} among its strings; give str or bytes.")
        encoded = element.encode() if isinstance(element, str) else element
        parts += (len(encoded).to_bytes(LENGTH_BYTES, "little"), encoded)
    return b"".join(parts)


def _numbers(name: str, array: Array) -> bytes:
    if array.dtype.kind not in "biuf":
        raise InvalidInput(
            f"Input {name!r} is an array of {array.dtype}; give one of numbers, bool or strings."
        )
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _datatype(array: Array) -> str:
    if array.dtype.kind == "b":
        return "BOOL"
    return f"{FAMILIES[array.dtype.kind]}{8 * array.dtype.itemsize}"


def _array(datatype: str, shape: list[int], data: bytes) -> Array:
    if datatype == "BYTES":
        found = np.empty(shape, object)
        found.ravel()[:] = _elements(data)  # ravel of a new array is a view
        return found
    if datatype == "BF16":  # the upper half of an FP32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if datatype == "BOOL":
        return np.frombuffer(data, bool).reshape(shape)
    kind = {name: kind for kind, name in FAMILIES.items()}[datatype.rstrip("0123456789")]
    return np.frombuffer(data, f"<{kind}{int(datatype.lstrip('UINTFP')) // 8}").reshape(shape)


def _elements(data: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(data):
        begin = at + LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "little")
        elements.append(data[begin:at])
    return elements
