"""Answers to wrong inference requests over a real connection."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server


@pytest.fixture
def served(server: Server, plan: bytes) -> Iterator[Server]:
    server.client.post("/engines", params={"name": "double"}, content=plan).raise_for_status()
    yield server
    good = {"inputs": [tensor()]}
    assert server.client.post("/engines/double/infer", json=good).status_code == 200, "the next request works"


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]} | changes


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "empty|JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"[" * 100_000, "JSON"),
        (json.dumps({}).encode(), "inputs"),
        (json.dumps({"inputs": [tensor(name="z")]}).encode(), "'z'.*'x'"),
        (json.dumps({"inputs": [tensor(datatype="FP64")]}).encode(), "'x'.*FP64.*FP32"),
        (json.dumps({"inputs": [tensor(shape=[4])]}).encode(), r"'x'.*\[4\]"),
        (
            json.dumps({"inputs": [tensor(shape=[1, 5], data=[1] * 5)]}).encode(),
            r"^Input 'x' has shape \[1, 5\]; the engine takes \[\?, 4\]\.$",
        ),
        (
            json.dumps({"inputs": [tensor(shape=[-1, 4])]}).encode(),
            r"'x' has the shape \[-1, 4\]",
        ),
        (b'{"inputs": [{"name": "x", "shape": [NaN, 4], "datatype": "FP32", "data": []}]}', "JSON"),
        (json.dumps({"inputs": [tensor(data=[1, "two", 3, 4])]}).encode(), "'x'"),
        (
            json.dumps({"inputs": [tensor(data=[1, 2, 3])]}).encode(),
            r"'x' has 3 elements in its data; shape \[1, 4\] takes 4\.",
        ),
        (json.dumps({"inputs": [tensor(), tensor()]}).encode(), "'x'"),
        (json.dumps({"inputs": [tensor()], "outputs": [{"name": "q"}]}).encode(), "'q'.*'y'"),
    ],
)
def test_a_wrong_body_is_a_400_with_a_sentence(served: Server, body: bytes, sentence: str) -> None:
    answer = served.client.post(
        "/engines/double/infer", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "InvalidInput"
    assert re.search(sentence, answer.json()["error"]), answer.json()["error"]


@pytest.mark.parametrize(
    ("header_length", "blob_size", "blob"),
    [
        ("abc", 16, 16),
        ("99999", 16, 16),
        ("-1", 16, 16),
        (None, 16, 15),
        (None, 15, 15),
        (None, 16, 20),
        (None, -1, 16),
    ],
)
def test_a_wrong_byte_count_is_a_400(
    served: Server, header_length: str | None, blob_size: int, blob: int
) -> None:
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": blob_size}}
    header = json.dumps({"inputs": [x]}).encode()
    answer = served.client.post(
        "/engines/double/infer",
        content=header + bytes(blob),
        headers={"Inference-Header-Content-Length": header_length or str(len(header))},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidInput"), answer.text


def test_an_unknown_engine_is_a_404_that_lists_the_engines(served: Server) -> None:
    answer = served.client.post("/engines/triple/infer", json={"inputs": [tensor()]})
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
    assert "double" in answer.json()["error"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PATCH", "/engines", 405)])
def test_a_wrong_address_or_method_is_answered_in_the_common_error_form(
    served: Server, method: str, path: str, status: int
) -> None:
    answer = served.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "code"}


def test_a_body_over_a_limit_is_a_413(tmp_path: Path, plan: bytes) -> None:
    limits = ("--max-request-bytes", "1000", "--max-plan-bytes", "5000")
    with Server(tmp_path / "store", *limits) as server:
        server.client.post("/engines", params={"name": "double"}, content=plan).raise_for_status()
        large = 50_000_000
        for path in ("/engines/double/infer", "/engines"):
            declared = server.client.post(path, content=bytes(large))
            assert (declared.status_code, declared.json()["code"]) == (413, "TooLarge")
            chunked = server.client.post(path, content=(bytes(65536) for _ in range(large // 65536)))
            assert (chunked.status_code, chunked.json()["code"]) == (413, "TooLarge")
        assert server.client.post("/engines/double/infer", json={"inputs": [tensor()]}).status_code == 200
        assert list((server.store / "incoming").iterdir()) == []
