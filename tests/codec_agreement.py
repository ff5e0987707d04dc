"""Checks that the codec and the reference agree on a body, for the property tests and the fuzzer."""

from tests import bodies, reference_codec
from tests.reference_codec import Refused, Request
from trtserve.codec import InferRequest
from trtserve.codec.request import RegionPart, RequestedOutput
from trtserve.errors import TrtserveError

LONGEST_SENTENCE = 4_000  # characters; a sentence may quote a name of up to 1024


def decoded(body: bytes, header_length: int | None) -> InferRequest | None:
    """Decode a body with the codec; None if it refuses. Any other exception is a bug in the codec."""
    headers = {} if header_length is None else {"Inference-Header-Content-Length": str(header_length)}
    try:
        return bodies.decode(headers, body)
    except TrtserveError as refusal:
        sentence = str(refusal)
    assert 0 < len(sentence) < LONGEST_SENTENCE
    return None


def expected(body: bytes, header_length: int | None) -> Request | None:
    try:
        return reference_codec.parse_request(body, header_length)
    except Refused:
        return None


def check_same(ours: InferRequest, theirs: Request) -> None:
    assert [
        (name, datatype, shape, place(data) if isinstance(data, RegionPart) else bytes_of(data))
        for name, datatype, shape, data in ours.inputs
    ] == [(tensor.name, tensor.datatype, tensor.shape, tensor.data) for tensor in theirs.inputs]
    assert ours.id == theirs.id
    assert ours.binary_outputs == theirs.binary_outputs
    outputs = ours.outputs
    assert theirs.outputs == (outputs and [(out.name, output_place(out)) for out in outputs])
    regions = [data for *_, data in ours.inputs if isinstance(data, RegionPart)]
    regions += [out.region for out in outputs or [] if out.region is not None]
    assert ours.shared == bool(regions)


def output_place(output: RequestedOutput) -> object:
    return output.binary if output.region is None else place(output.region)


def place(region: RegionPart) -> tuple[str, int, int]:
    return region.name, region.offset, region.byte_size


def bytes_of(data: object) -> bytes:
    return bytes(memoryview(data).cast("B"))  # type: ignore[call-overload]
