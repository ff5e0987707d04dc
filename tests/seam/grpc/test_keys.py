"""The keys of requests: those that differ only in their id and the data of their inputs share one."""

from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.seam.grpc.client import Connection, data, head

MOST = 100_000


def request(**more: Any) -> Any:
    fields = {
        "model_name": "net",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}],
        "raw_input_contents": [bytes(16)],
    }
    return pb.ModelInferRequest(**(fields | more))


def received(message: bytes) -> Any:
    ((_, _, got),) = Connection(message_bytes=MOST).receive(head() + data(message))
    return got


def key(sent: Any) -> bytes:
    found: bytes = received(sent.SerializeToString()).key
    return found


def test_requests_that_differ_in_id_and_data_have_one_key() -> None:
    assert (
        key(request(id="1"))
        == key(request(id="22", raw_input_contents=[b"\1" * 16]))
        == key(request())
        != b""
    )
    assert received(request(id="22").SerializeToString()).id == b"22"


OTHERS = {
    "model": {"model_name": "other"},
    "version": {"model_version": "2"},
    "shape": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4, 1]}]},
    "parameters": {"parameters": {"priority": {"int64_param": 1}}},
    "outputs": {"outputs": [{"name": "y"}]},
    "sizes": {"raw_input_contents": [bytes(12)]},
    "number": {"raw_input_contents": [bytes(16), b""]},
}


@pytest.mark.parametrize("other", OTHERS)
def test_requests_that_differ_in_anything_else_have_different_keys(other: str) -> None:
    assert key(request(**OTHERS[other])) not in {key(request()), b""}


UNUSUAL = {
    "no data": request(raw_input_contents=[]),
    "contents": request(inputs=[{"name": "x", "contents": {"fp32_contents": [1]}}]),
    "an id that is not ASCII": request(id="é"),
    "many inputs": request(raw_input_contents=[b"x"] * 17),
    "a long name": request(model_name="n" * 5000),
}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_an_unusual_request_has_no_key(unusual: str) -> None:
    assert key(UNUSUAL[unusual]) == b""


@pytest.mark.parametrize(
    "message", [b"", b"\xff", request().SerializeToString()[:-1], b"\x3a\xff\xff\xff\xff\x0f", b"\x3d1234"]
)
def test_bytes_that_are_no_request_have_no_key(message: bytes) -> None:
    got = received(message)
    assert (got.key, bytes(got)) == (b"", message)
