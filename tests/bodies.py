"""One-call wrappers of the codec for tests: decode a body with its headers, encode a whole body."""

from collections.abc import Mapping, Sequence

from runtime_ext import Output
from trtserve import codec
from trtserve.codec import Body, InferRequest, Selected
from trtserve.codec.request import Unread
from trtserve.http.headers import read_headers


def decode(headers: Mapping[str, str], body: Body) -> InferRequest:
    """The decoded request; inputs written as text have been read."""
    return read(codec.decode_body(read_headers(headers), body))


def read(request: InferRequest) -> InferRequest:
    request.inputs = [
        (name, datatype, shape, data.read(name, datatype, shape) if isinstance(data, Unread) else data)
        for name, datatype, shape, data in request.inputs
    ]
    return request


def encode(
    request: InferRequest,
    outputs: Sequence[Output],
    selected: Selected,
    *,
    model_name: str = "net",
    model_version: str = "1",
) -> tuple[bytes, dict[str, str]]:
    """Return the answer's body and headers."""
    parts, headers = codec.encode_parts(
        request, outputs, selected, model_name=model_name, model_version=model_version
    )
    return b"".join(parts), headers
