"""The codec in one call, as tests use it: a body with its headers in, a whole body out."""

from collections.abc import Mapping, Sequence

from runtime_ext import Output
from service import codec
from service.codec import Body, InferRequest, Selected


def decode(headers: Mapping[str, str], body: Body) -> InferRequest:
    return codec.decode_body(codec.read_headers(headers), body)


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
