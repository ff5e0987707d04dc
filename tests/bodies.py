"""The codec in one call, as tests use it: a body with its headers in, a whole body out."""

from collections.abc import Mapping, Sequence

from runtime_ext import Output
from trtserve import codec
from trtserve.codec import Body, InferRequest, Selected
from trtserve.codec.request import Unread
from trtserve.http.headers import read_headers


def decode(headers: Mapping[str, str], body: Body) -> InferRequest:
    """The request, all of whose inputs that were written as text have been read."""
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
    """The answer's body and headers."""
    parts, headers = codec.encode_parts(
        request, outputs, selected, model_name=model_name, model_version=model_version
    )
    return b"".join(parts), headers
