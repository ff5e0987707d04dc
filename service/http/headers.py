"""Reads from an inference request's headers the form of its body and of the answer that it asks for."""

from collections.abc import Mapping

from trtserve.codec import LONGEST_NS, BodyForm, Form, open_inference, safetensors
from trtserve.errors import InvalidInput, UnsupportedMedia
from trtserve.http.content_coding import answer_coding, body_coding
from trtserve.text import shown

TIMEOUT = "Inference-Timeout-Ms"
TIMEOUT_DIGITS = 18

BINARY_TYPE = "application/octet-stream"

# HTTP's default type is octet-stream, and some libraries send that for a body without a type.
JSON_TYPES = {"", "application/json", BINARY_TYPE}


def read_headers(headers: Mapping[str, str]) -> BodyForm:
    """What the headers say; they must find a name in any case. Raises InvalidInput, UnsupportedMedia."""
    coding = body_coding(headers)
    header_length = headers.get(open_inference.HEADER_LENGTH)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if header_length is None and media_type == safetensors.MEDIA_TYPE:
        form = Form.SAFETENSORS
    elif header_length is not None or media_type in JSON_TYPES or media_type.endswith("+json"):
        form = Form.PROTOCOL
    else:
        raise UnsupportedMedia(
            f"The body's Content-Type is {shown(media_type)}; send application/json "
            f"or {safetensors.MEDIA_TYPE}, or the protocol's binary form with {open_inference.HEADER_LENGTH}."
        )
    timeout = headers.get(TIMEOUT)
    accepted = headers.get("accept", "").lower()
    answer = None
    if safetensors.MEDIA_TYPE in accepted:
        answer = Form.EITHER if BINARY_TYPE in accepted else Form.SAFETENSORS
    elif "application/json" in accepted:
        answer = Form.PROTOCOL
    return BodyForm(
        form,
        header_length,
        None if timeout is None else _timeout_ns(timeout),
        answer,
        coding,
        answer_coding(headers),
    )


def _timeout_ns(milliseconds: str) -> int:
    """The timeout header's whole number of milliseconds, in nanoseconds."""
    digits = milliseconds.isascii() and milliseconds.isdecimal() and len(milliseconds) <= TIMEOUT_DIGITS
    if not digits:
        raise InvalidInput(f"{TIMEOUT} is {shown(milliseconds)}; it must be a whole number of milliseconds.")
    return in_ns(int(milliseconds))


def in_ns(milliseconds: int) -> int:
    """A timeout in nanoseconds, at most LONGEST_NS."""
    return min(milliseconds * 1_000_000, LONGEST_NS)
