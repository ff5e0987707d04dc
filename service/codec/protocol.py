"""Bodies of the Open Inference Protocol (version 2): JSON, alone or with binary tensors behind it.

Source: the protocol's "Inference Request" and Triton's "Binary Tensor Data Extension". In the binary form
the first `Inference-Header-Content-Length` bytes are JSON; an input with `parameters.binary_data_size` has
that many bytes behind it, in the order of the inputs, little-endian.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from runtime_ext import Output
from service.codec import datatypes, json_data
from service.codec.request import LONGEST_NS, InferRequest, Input, RequestedOutput
from service.codec.shown import shown
from service.codec.tensor import check_bytes, check_name, check_shape
from service.errors import InvalidInput

HEADER_LENGTH = "Inference-Header-Content-Length"
LENGTH_DIGITS = 18  # of a number that a 64-bit length can be


def decode(document: bytes | memoryview, blobs: memoryview) -> InferRequest:
    """A request from its JSON and the bytes behind it; the inputs are views on them."""
    request = _object(_parse(document), "The request")
    parameters = _parameters(request, "the request")
    inputs = _list(request, "inputs")
    if not isinstance(request.get("id", ""), str):
        raise InvalidInput(f"The request's id is {shown(request['id'])}; it must be a string.")
    binary_outputs = _flag(parameters, "binary_data_output", False)
    return InferRequest(
        inputs=_inputs(inputs, blobs),
        outputs=_outputs(request, binary_outputs),
        binary_outputs=binary_outputs,
        id=request.get("id"),
        timeout_ns=_timeout_ns(parameters),
    )


def split(body: bytes, header_length: str) -> tuple[memoryview, memoryview]:
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
    outputs: Sequence[tuple[Output, bool]], *, model_name: str, model_version: str, id: str | None
) -> tuple[bytes, dict[str, str]]:
    """The answer and its headers; of each output whether it goes behind the JSON as a blob."""
    described: list[dict[str, Any]] = []
    blobs: list[memoryview] = []
    for output, binary in outputs:
        data = memoryview(output)
        tensor: dict[str, Any] = {"name": output.name, "shape": output.shape, "datatype": output.datatype}
        if binary:
            tensor["parameters"] = {"binary_data_size": data.nbytes}
            blobs.append(data)
        else:
            tensor["data"] = json_data.to_list(output.datatype, data)
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if id is not None:
        answer["id"] = id
    answer["outputs"] = described
    document = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(binary for _, binary in outputs):
        return document, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(document))}
    return b"".join([document, *blobs]), headers


def _parse(document: bytes | memoryview) -> object:
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError as error:
        if not document:
            raise InvalidInput("The body is empty; it must be JSON with the inputs.") from None
        raise InvalidInput(f"The body is not JSON (NaN and Infinity are none): {error}.") from None


def _inputs(tensors: list[Any], blobs: memoryview) -> list[Input]:
    inputs: list[Input] = []
    offset = 0
    for number, described in enumerate(tensors):
        tensor = _object(described, f"Input {number}")
        name = check_name(f"Input {number}", tensor.get("name"))
        datatype = datatypes.check(name, tensor.get("datatype"))
        shape = check_shape(name, tensor.get("shape"))
        size = _parameters(tensor, f"tensor {name!r}").get("binary_data_size")
        if size is None:
            if "data" not in tensor:
                raise InvalidInput(f"Tensor {name!r} has neither data nor parameters.binary_data_size.")
            inputs.append((name, datatype, shape, json_data.to_array(name, datatype, shape, tensor["data"])))
        elif "data" in tensor:
            raise InvalidInput(f"Tensor {name!r} has both data and parameters.binary_data_size.")
        else:
            end = offset + check_bytes(name, datatype, shape, size)
            if end > len(blobs):
                left = len(blobs) - offset
                raise InvalidInput(f"Tensor {name!r} takes {size} bytes; only {left} are left in the body.")
            inputs.append((name, datatype, shape, blobs[offset:end]))
            offset = end
    if offset != len(blobs):
        raise InvalidInput(f"{len(blobs) - offset} bytes of the body belong to no input.")
    return inputs


def _outputs(request: dict[str, Any], binary_by_default: bool) -> list[RequestedOutput] | None:
    if "outputs" not in request:
        return None
    outputs = []
    for number, described in enumerate(_list(request, "outputs")):
        output = _object(described, f"Output {number}")
        name = check_name(f"Output {number}", output.get("name"))
        parameters = _parameters(output, f"output {name!r}")
        outputs.append(RequestedOutput(name, _flag(parameters, "binary_data", binary_by_default)))
    return outputs or None  # an empty list asks for all, as no list does


def _timeout_ns(parameters: dict[str, Any]) -> int | None:
    """`parameters.timeout` is in microseconds; 0 is none of the request's own: both as Triton has them."""
    timeout = parameters.get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise InvalidInput(
            f"The parameter timeout is {shown(timeout)}; it must be a whole number of microseconds."
        )
    return min(timeout * 1_000, LONGEST_NS) or None


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} is not a JSON object.")
    return value


def _list(described: dict[str, Any], key: str) -> list[Any]:
    value = described.get(key)
    if not isinstance(value, list):
        raise InvalidInput(f"The request must have `{key}`, a list.")
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
