"""What requests with one head share, and when the shared state expires."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

import runtime_ext
from tests.asgi import client_of
from tests.connections import Answer, Connection, listening, request
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, TensorSpec
from tests.waiting import until
from trtserve.codec import open_inference
from trtserve.errors import InvalidInput, NotFound
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.headers import read_headers
from trtserve.http.short_heads import KnownHeads
from trtserve.inference.calls import DOCUMENT_BYTES, Inference, RequestHead
from trtserve.inference.recent import Recent
from trtserve.plans.trial import Checked
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine

if TYPE_CHECKING:
    from runtime_ext import Completion

pytestmark = pytest.mark.anyio

BLOB = np.arange(4, dtype=np.float32).tobytes()
HOSTS = AllowedHosts("", local=True)
PREFIX = b"POST /engines/net/infer HTTP/1.1\r\nContent-Length: 1\r\n"


@pytest.fixture
async def inference(client: httpx.AsyncClient, app: FastAPI) -> Inference:
    """The Inference of an application with the engine `net`."""
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    assert isinstance(services_of(app).inference, Inference)
    return services_of(app).inference


def document(**members: object) -> bytes:
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    return json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}} | members).encode()


def head_of(document: bytes, ref: str = "net", version: str | None = None, **headers: str) -> RequestHead:
    length = {open_inference.HEADER_LENGTH.lower(): str(len(document))}
    found = httpx.Headers(length | headers)
    return RequestHead.of(ref, version, read_headers(found))


async def answered(inference: Inference, head: RequestHead, body: bytes) -> dict[str, Any]:
    """Send a request; return the JSON of its good answer."""
    ended: list[Completion] = []
    call = inference.start(head, body, 0, ended.append)
    await until(lambda: len(ended) == 1)
    parts, _ = inference.answer(call, ended[0])
    answer = json.loads(bytes(parts[0]))
    assert isinstance(answer, dict)
    return answer


# -- templates


async def test_requests_with_one_document_share_its_template(inference: Inference) -> None:
    head = head_of(document())
    first = inference.start(head, document() + BLOB, 0, lambda _: None)
    second = inference.start(head, document() + BLOB, 0, lambda _: None)
    assert first.template is not None
    assert first.template is second.template


async def test_requests_with_a_known_head_follow_a_moved_name(
    inference: Inference, client: httpx.AsyncClient
) -> None:
    head = head_of(document())
    assert (await answered(inference, head, document() + BLOB))["model_version"] == "1"
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan(1))).raise_for_status()
    assert (await answered(inference, head, document() + BLOB))["model_version"] == "2"


async def test_a_requested_version_stays_when_the_name_moves(
    inference: Inference, client: httpx.AsyncClient
) -> None:
    head = head_of(document(), version="1")
    for seed in (1, 2):
        assert (await answered(inference, head, document() + BLOB))["model_version"] == "1"
        (await client.post("/engines", params={"name": "net"}, content=onnx_plan(seed))).raise_for_status()
    with pytest.raises(NotFound, match="'net' has no version '9'"):
        inference.check(head_of(document(), version="9"), 0)


async def test_a_known_head_reaches_an_engine_that_was_removed_and_added_again(
    inference: Inference, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    head = head_of(document())
    assert (await answered(inference, head, document() + BLOB))["outputs"][0]["name"] == "y"
    (await client.delete("/engines/net")).raise_for_status()
    with pytest.raises(NotFound, match="no engine 'net'"):
        inference.start(head, document() + BLOB, 0, lambda _: None)
    with pytest.raises(NotFound, match="no engine 'net'"):
        inference.check(head, 0)
    runtime.outputs = [TensorSpec("z", "FP32", [-1, 4])]
    runtime.compute = lambda _: [Output.of("z", "FP32", [1, 4], BLOB)]
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    assert (await answered(inference, head, document() + BLOB))["outputs"][0]["name"] == "z"


async def test_headers_apply_to_every_request_with_the_head(
    inference: Inference, runtime: FakeRuntime
) -> None:
    head = head_of(document(), **{"inference-timeout-ms": "7"})
    for _ in range(2):
        inference.start(head, document() + BLOB, 0, lambda _: None)
    assert runtime.timeouts == [7_000_000, 7_000_000]


async def test_a_wrong_request_gets_the_same_error_each_time(inference: Inference) -> None:
    bad = document().replace(b'"x"', b'"z"')
    head = head_of(bad)
    for _ in range(2):
        with pytest.raises(runtime_ext.Error, match="inputs of engine"):
            inference.start(head, bad + BLOB, 0, lambda _: None)
    assert len(inference.templates) == 0
    for _ in range(2):
        with pytest.raises(InvalidInput, match="only 15 are left"):
            inference.start(head_of(document()), document() + BLOB[1:], 0, lambda _: None)


async def test_templates_are_limited_in_number_and_size(inference: Inference) -> None:
    inference.templates = Recent(8)
    head = head_of(document(outputs=[{"name": "y", "note": 10}]))
    for number in range(10, 100):
        body = document(outputs=[{"name": "y", "note": number}])
        await answered(inference, head, body + BLOB)
        assert 0 < len(inference.templates) <= 8
    inference.templates = Recent(8)
    long = document(note="a" * DOCUMENT_BYTES)
    head = head_of(long)
    await answered(inference, head, long + BLOB)
    assert len(inference.templates) == 0


async def test_the_template_that_was_not_used_for_longest_is_forgotten(inference: Inference) -> None:
    inference.templates = Recent(8)

    def template(number: int) -> object:
        body = document(outputs=[{"name": "y", "note": number}])
        return inference.start(head, body + BLOB, 0, lambda _: None).template

    head = head_of(document(outputs=[{"name": "y", "note": 10}]))
    first, second = template(10), template(11)
    for number in range(12, 30):
        template(number)
        assert template(10) is first
    assert template(11) is not second


async def test_a_head_of_one_request_leaves_nothing_behind(inference: Inference) -> None:
    head = RequestHead.of("net", None, head_of(document()).form, shared=False)
    await answered(inference, head, document() + BLOB)
    listed = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = document(inputs=[listed])
    await answered(inference, RequestHead.of("net", None, head_of(body).form, shared=False), body)
    assert len(inference.templates) == len(inference.patterns) == 0


async def test_requests_that_share_a_head_have_numbers_of_their_own(
    inference: Inference, runtime: FakeRuntime
) -> None:
    head = head_of(b"", **{"inference-timeout-ms": "0"})
    told = document(parameters={"timeout": 9_000, "binary_data_output": True})
    for body, timeout_ns in ((document(), 7), (document(note="a"), 8), (document(), 9), (told, 0)):
        inference.start(head, body + BLOB, 0, lambda _: None, header_length=len(body), timeout_ns=timeout_ns)
    assert runtime.timeouts[:3] == [7, 8, 9]
    assert runtime.timeouts[3] not in {0, 9_000_000}  # the head's timeout wins: no limit but the server's
    head = head_of(b"")
    inference.start(head, told + BLOB, 0, lambda _: None, header_length=len(told))
    assert runtime.timeouts[4] == 9_000_000
    listed = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = document(inputs=[listed])
    json_alone = RequestHead.of("net", None, read_headers({}))
    for shared, length in ((json_alone, -1), (head_of(b""), len(body))):
        inference.start(shared, body, 0, lambda _: None, header_length=length, timeout_ns=6)
    assert runtime.timeouts[5:] == [6, 6]


async def test_a_length_beyond_the_body_finds_no_template(inference: Inference) -> None:
    head = head_of(b"")
    inference.start(head, document() + BLOB, 0, lambda _: None, header_length=len(document()))
    for length in (len(document()) + 1, len(document()) + 100):
        with pytest.raises(InvalidInput, match="must be the length of the JSON"):
            inference.start(head, document(), 0, lambda _: None, header_length=length)


async def test_a_request_with_an_id_leaves_no_template(inference: Inference) -> None:
    head = head_of(document(id="a"))
    for id in ("a", "b"):
        assert (await answered(inference, head, document(id=id) + BLOB))["id"] == id
    assert len(inference.templates) == 0


async def test_a_body_with_data_in_its_json_is_described_once(
    inference: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[bytes] = []
    describe = open_inference.describe
    monkeypatch.setattr(
        open_inference, "describe", lambda json: described.append(bytes(json)) or describe(json)
    )
    listed = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = document(inputs=[listed])
    assert (await answered(inference, head_of(body), body))["outputs"][0]["shape"] == [1, 4]
    assert described == [body]


# -- raw bodies


async def test_a_raw_body_fills_the_engines_only_input(inference: Inference) -> None:
    head = head_of(b"")
    for rows in (1, 3, 1):
        answer = await answered(inference, head, rows * BLOB)
        assert answer["outputs"] == [
            {
                "name": "y",
                "shape": [rows, 4],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 16 * rows},
            }
        ]
    with pytest.raises(InvalidInput, match="raw data of 15 bytes"):
        inference.start(head, BLOB[1:], 0, lambda _: None)


async def test_a_raw_body_is_a_batch_of_one_if_requests_are_joined(
    inference: Inference, client: httpx.AsyncClient
) -> None:
    query: dict[str, str | int] = {"name": "joined", "max_batch_size": 4, "batch_dims": "x:0,y:0"}
    (await client.post("/engines", params=query, content=onnx_plan(1))).raise_for_status()
    head = head_of(b"", "joined")
    assert (await answered(inference, head, BLOB))["outputs"][0]["shape"] == [1, 4]
    with pytest.raises(InvalidInput, match="takes 16 bytes for a batch of one"):
        inference.start(head, 2 * BLOB, 0, lambda _: None)


@pytest.mark.parametrize(
    ("width", "rows"),
    [
        (4, 3),  # the number of bytes says how many rows there are, as if nothing was joined
        (-1, 1),  # it could be any shape: so it is one row, of as many numbers
    ],
)
async def test_a_raw_body_may_have_several_items_if_nobody_asked_for_batches(
    settings: Settings, width: int, rows: int
) -> None:
    async def finds_it_safe(plan: Path, engine: StoredEngine) -> Checked:
        return Checked("")

    runtime = FakeRuntime()
    runtime.auto_batch_size = 64
    runtime.inputs = [TensorSpec("x", "FP32", [-1, width], [])]
    app = create_app(settings, runtime=runtime, trial=finds_it_safe)
    async with app.router.lifespan_context(app), client_of(app) as client:
        added = await client.post("/engines", params={"name": "auto"}, content=onnx_plan())
        assert added.json()["max_batch_size"] == 64
        answer = await answered(services_of(app).inference, head_of(b"", "auto"), 3 * BLOB)
    assert answer["outputs"][0]["shape"] == [rows, 12 // rows]


# -- heads


def test_a_head_is_read_once() -> None:
    heads = KnownHeads(100, HOSTS)
    first = heads.look_up(PREFIX + b"\r\n")
    assert first is not None
    assert (first.head.ref, first.length) == ("net", 1)
    second = heads.look_up(PREFIX + b"\r\n")
    assert second is not None
    assert second.head is first.head


@pytest.mark.parametrize(
    ("target", "ref", "version"),
    [
        (b"/engines/net", "net", None),
        (b"/v2/models/net", "net", None),
        (b"/v2/models/n%65t", "net", None),
        (b"/v2/models/net/versions/12", "net", "12"),
        (b"/v2/models/net/versions/%31x", "net", "1x"),
        (b"/v2/models/versions/versions/1", "versions", "1"),
    ],
)
def test_a_target_names_the_engine_and_its_version(target: bytes, ref: str, version: str | None) -> None:
    known = KnownHeads(100, HOSTS).look_up(PREFIX.replace(b"/engines/net", target) + b"\r\n")
    assert known is not None
    assert (known.head.ref, known.head.version) == (ref, version)


@pytest.mark.parametrize("accepted", [b"identity", b"*", b"br", b"gzip;q=0", b""])
def test_a_head_without_compression_is_ordinary(accepted: bytes) -> None:
    heads = KnownHeads(100, HOSTS)
    assert heads.look_up(PREFIX + b"Accept-Encoding: " + accepted + b"\r\n\r\n") is not None
    assert heads.look_up(PREFIX + b"Content-Encoding: identity\r\n\r\n") is not None


@pytest.mark.parametrize(
    "raw",
    [
        PREFIX.replace(b"Length: 1", b"Length: 0") + b"Connection: close\r\n\r\n",
        PREFIX + b"Connection: a, close\r\n\r\n",
        PREFIX + b"Content-Length: 1\r\n\r\n",
        PREFIX + b"Transfer-Encoding: chunked\r\n\r\n",
        PREFIX + b"Transfer-Encoding: identity\r\n\r\n",
        PREFIX + b"Expect: 100-continue\r\n\r\n",
        PREFIX + b"Upgrade: h2c\r\n\r\n",
        PREFIX + b"X: a\r\n b\r\n\r\n",
        PREFIX + b"X: a\n\r\n\r\n",
        PREFIX + b"Content-Encoding: gzip\r\n\r\n",
        PREFIX + b"Content-Encoding: deflate\r\n\r\n",
        PREFIX + b"Content-Encoding: br\r\n\r\n",
        PREFIX + b"Inference-Timeout-Ms: soon\r\n\r\n",
        PREFIX.replace(b"Length: 1", b"Length: 101") + b"\r\n",
        PREFIX.replace(b"Length: 1", b"Length: +1") + b"\r\n",
        PREFIX.replace(b"Length: 1", b"Length: ") + b"\r\n",
        PREFIX.replace(b"Content-Length", b"X-Content-Length") + b"\r\n",
        PREFIX.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Connection: keep-alive\r\n\r\n",
        PREFIX.replace(b"POST", b"PUT") + b"\r\n",
        PREFIX.replace(b"/infer", b"/infer/") + b"\r\n",
        PREFIX.replace(b"/infer", b"/infer?") + b"\r\n",
        PREFIX.replace(b"/engines", b"http://a/engines") + b"\r\n",
        PREFIX.replace(b"net", b"net%2Fa") + b"\r\n",
        PREFIX.replace(b"net", b"%FF") + b"\r\n",
        PREFIX.replace(b"net", b"\xc3\xa9") + b"\r\n",
        PREFIX.replace(b"/infer", b"/versions/1/infer") + b"\r\n",
        PREFIX.replace(b"/engines/net", b"/v2/models/net/versions") + b"\r\n",
        PREFIX.replace(b"/engines/net", b"/v2/models/net/versions/1%2F2") + b"\r\n",
        PREFIX.replace(b"/engines/net", b"/v2/models/net/versions/%FF") + b"\r\n",
        PREFIX.replace(b"/engines/net", b"/v2/models/net/version/1") + b"\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_head_that_is_not_ordinary_is_left_to_the_framework(raw: bytes) -> None:
    assert raw.endswith(b"\r\n\r\n")
    assert KnownHeads(100, HOSTS).look_up(raw) is None


# -- answers of the short way


async def test_answers_of_many_shapes_do_not_mix(app: FastAPI, inference: Inference) -> None:
    runtime = services_of(app).runtime
    async with listening(app) as server, Connection(server) as connection:
        server.short_way.rendered = Recent(8)
        for count in [*range(40), 3, 3]:
            blob = np.full(count, count, np.float32).tobytes()
            runtime.compute = lambda _, count=count, blob=blob: [Output.of("y", "FP32", [count], blob)]
            answer = await connection.ask(whole(document()))
            described, values = parted(answer)
            assert described["outputs"][0]["shape"] == [count]
            assert values == blob
        assert len(inference.templates) == 1
        assert 0 < len(server.short_way.rendered) <= 8


async def test_cached_answers_follow_a_moved_name(
    app: FastAPI, inference: Inference, client: httpx.AsyncClient
) -> None:
    async with listening(app) as server, Connection(server) as connection:
        versions = []
        for seed in (1, 2):
            for _ in range(2):
                described, _ = parted(await connection.ask(whole(document())))
                versions.append(described["model_version"])
            await client.post("/engines", params={"name": "net"}, content=onnx_plan(seed))
        assert versions == ["1", "1", "2", "2"]


def whole(document: bytes) -> bytes:
    length = f"{open_inference.HEADER_LENGTH}: {len(document)}"
    return request("/engines/net/infer", document + BLOB, length)


def parted(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """The JSON and the blobs of a binary answer."""
    assert answer.status == 200, answer
    length = int(answer.header("inference-header-content-length") or 0)
    return json.loads(answer.body[:length]), answer.body[length:]
