"""The short way and the framework give the same answers to any requests, in any pieces."""

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, strategies
from hypothesis import settings as how
from safetensors.numpy import save

from tests.connections import Answer, Connection, listening, request
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from trtserve.http.short_way import InferProtocol
from trtserve.http.timed import TimedHttp
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 10_000  # bytes of a body
INFER = "/engines/net/infer"
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
JSON = json.dumps({"inputs": [X]}).encode()
BLOB = np.arange(4, dtype=np.float32).tobytes()
SAFETENSORS = "Content-Type: application/x-safetensors"


def binary(
    blob: bytes = BLOB,
    header_length: object = None,
    target: str = INFER,
    accept: str = "identity",
    **members: object,
) -> bytes:
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    document = json.dumps({"inputs": [x]} | members).encode()
    length = len(document) if header_length is None else header_length
    headers = [f"Inference-Header-Content-Length: {length}", f"Accept-Encoding: {accept}"]
    return request(target, document + blob, *headers)


def infer(*headers: str | bytes, **line: str) -> bytes:
    return request(INFER, JSON, *headers, **line)  # type: ignore[arg-type]


ROWS: dict[str, Any] = {
    "blob": b"",
    "inputs": [X | {"shape": [100, 4], "data": [[1, 2, 3, 4]] * 100}],
}
BLOBS = {"parameters": {"binary_data_output": True}}
KEPT = {  # the connection goes on after these
    "json": infer(),
    "json with its content type": infer("Content-Type: application/json; charset=utf-8"),
    "json at the limit": request(INFER, JSON.ljust(LIMIT)),
    "json over the limit": request(INFER, JSON.ljust(LIMIT + 1)),
    "malformed json": request(INFER, b"{"),
    "no body": request(INFER),
    "wrong tensor": request(INFER, JSON.replace(b'"x"', b'"z"')),
    "binary": binary(**BLOBS),
    "binary, answered in json": binary(),
    "binary, two outputs": binary(outputs=[{"name": "y"}, {"name": "y"}], **BLOBS),
    "binary with an id": binary(id="a", **BLOBS),
    "binary of another engine": binary(**BLOBS).replace(b"/net/", b"/other/"),
    "binary, wrong tensor": binary(**BLOBS).replace(b'"x"', b'"z"'),
    "binary, a byte short": binary(BLOB[1:], **BLOBS),
    "binary, a byte long": binary(BLOB + b"1", **BLOBS),
    "binary, half its document": binary(header_length=20),
    "binary without a document": binary(header_length=0),
    "raw": request(INFER, BLOB, "Inference-Header-Content-Length: 0"),
    "raw of two rows": request(INFER, 2 * BLOB, "Inference-Header-Content-Length: 00"),
    "raw of a wrong length": request(INFER, BLOB[1:], "Inference-Header-Content-Length: 0"),
    "raw without bytes": request(INFER, b"", "Inference-Header-Content-Length: 0"),
    "raw for safetensors": request(
        INFER, BLOB, "Inference-Header-Content-Length: 0", "Accept: application/x-safetensors"
    ),
    "binary, some in the json": binary(b"", inputs=[X], **BLOBS),
    "binary, header length over the body": binary(header_length=99_999),
    "binary, malformed header length": binary(header_length="many"),
    "binary, long document": binary(id="a" * 5_000, **BLOBS),
    "safetensors": request(INFER, save({"x": np.ones((2, 4), np.float32)}), SAFETENSORS),
    "malformed safetensors": request(INFER, JSON, SAFETENSORS),
    "answered in safetensors": infer("Accept: application/x-safetensors"),
    "answered in either form": infer("Accept: application/x-safetensors, application/octet-stream"),
    "unknown engine": request("/engines/none/infer", JSON),
    "a priority": request(INFER, JSON[:-1] + b', "parameters": {"priority": 1}}'),
    "a wrong type": infer("Content-Type: text/plain"),
    "two types, the first wrong": infer("Content-Type: text/plain", "Content-Type: application/json"),
    "two types, the second wrong": infer("Content-Type: application/json", "Content-Type: text/plain"),
    "a malformed timeout": infer("Inference-Timeout-Ms: soon"),
    "a timeout": infer("INFERENCE-TIMEOUT-MS: 1000"),
    "falsely declared as compressed": infer("Content-Encoding: gzip"),
    "compressed": request(INFER, gzip.compress(JSON, mtime=0), "Content-Encoding: gzip"),
    "compressed with deflate": request(INFER, zlib.compress(JSON), "Content-Encoding: Deflate"),
    "an unknown content coding": infer("Content-Encoding: br"),
    "content coding identity": infer("Content-Encoding: identity"),
    "compressed twice": infer("Content-Encoding: gzip", "Content-Encoding: identity"),
    "compressed, after identity": infer("Content-Encoding: identity", "Content-Encoding: gzip"),
    "compression requested": binary(accept="gzip, deflate", **ROWS),
    "compression requested for a small answer": infer("Accept-Encoding: gzip"),
    "compression refused": binary(accept="gzip;q=0", **ROWS),
    "any compression": binary(accept="*", **ROWS),
    "an empty header": infer("X-Empty:", "X-Last:"),
    "a header of non-ascii bytes": infer(b"X-Name: \xff\x80"),
    "a long head": infer("X-Long: " + "a" * 5_000),
    "a head almost too long": infer("X-Long: " + "a" * 65_000),
    "length with zeros": infer(length=f"000{len(JSON)}"),
    "length with a space": infer(length=f"{len(JSON)} "),
    "chunked": infer("Transfer-Encoding: chunked", length=None).removesuffix(JSON)
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(JSON), JSON),
    "waits for 100": infer("Expect: 100-continue"),
    "waits for something": infer("Expect: something"),
    "keep-alive": infer("Connection: keep-alive"),
    "closed is not close": infer("Connection: closed"),
    "upgrade to nothing": infer("Connection: upgrade"),
    "upgrade without a connection": infer("Upgrade: h2c"),
    "upgrade": infer("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "upgrade to a web socket": infer("Connection: keep-alive, upgrade", "Upgrade: websocket"),
    "a query": request(INFER + "?a=1", JSON),
    "an empty query": request(INFER + "?", JSON),
    "a fragment": request(INFER + "#a", JSON),
    "a trailing slash": request(INFER + "/", JSON),
    "an encoded name": request("/engines/n%65t/infer", JSON),
    "a model": request("/v2/models/net/infer", JSON),
    "a model's version": request("/v2/models/net/versions/1/infer", JSON),
    "an unknown version": request("/v2/models/net/versions/2/infer", JSON),
    "a version that is not a number": request("/v2/models/net/versions/%31%20x/infer", JSON),
    "an empty version": request("/v2/models/net/versions//infer", JSON),
    "a version with an encoded slash": request("/v2/models/net/versions/1%2F1/infer", JSON),
    "a version of an engine": request("/engines/net/versions/1/infer", JSON),
    "an encoded model": request("/v2/models/n%65t/infer", JSON),
    "an unknown model": request("/v2/models/none/infer", JSON),
    "a model's other page": request("/v2/models/net/infers", JSON),
    "a model in binary": binary(target="/v2/models/net/versions/1/infer", **BLOBS),
    "an encoded slash": request("/engines/net%2Finfer/infer", JSON),
    "an encoded line feed": request("/engines/net%0A/infer", JSON),
    "an encoded question mark": request("/engines/net%3Fa/infer", JSON),
    "invalid utf-8": request("/engines/%FF/infer", JSON),
    "a lone percent": request("/engines/%/infer", JSON),
    "an absolute target": request("http://test" + INFER, JSON),
    "two slashes": request("//engines/net/infer", JSON),
    "dots": request("/engines/../engines/net/infer", JSON),
    "a blank line before": b"\r\n" + infer(),
    "an empty head before": b"\r\n\r\n" + infer(),
    "a line feed before": b"\n" + binary(**BLOBS),
    "two spaces": infer().replace(b"POST ", b"POST  "),
    "PUT": infer(method="PUT"),
    "GET": request("/engines/net", method="GET", length=None),
    "GET infer": request(INFER, method="GET"),
    "GET with a body": request("/health/live", JSON, method="GET"),
    "GET nothing": request("/nowhere", method="GET", length=None),
}
ENDING = {  # the server ends the connection after these
    "close": infer("Connection: close"),
    "close in a list": infer("Connection: foo, Close"),
    "close in a second header": infer("Connection: keep-alive", "Connection: close"),
    "close without a body": request(INFER, b"", "Connection: close"),
    "close of a proxy": infer("Proxy-Connection: close"),
    "1.0": infer(version="1.0"),
    "1.0 with keep-alive": infer("Connection: keep-alive", version="1.0"),
    "2.0": infer(version="2.0"),
}
ALONE = {  # uvicorn answers these at once or drops later bytes, so each is sent with nothing under way
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "two lengths": infer("Content-Length: 5"),
    "the same length twice": infer(f"Content-Length: {len(JSON)}"),
    "length and chunks": infer("Transfer-Encoding: chunked"),
    "an unknown coding": infer("Transfer-Encoding: gzip", length=None),
    "a folded header": infer("X-Folded: a\r\n b"),
    "a folded length": infer(length="\r\n 5"),
    "an empty length": infer("Content-Length:", length=None),
    "a signed length": infer(length="+5"),
    "a length beyond 64 bits": infer(length="9" * 20),
    "a list as length": infer(length="5, 5"),
    "a bare line feed": infer("X-Bare: a\nX-Next: b"),
    "a bare end": infer("X-Bare: a\n\nX-Next: b"),
    "a bare carriage return": infer("X-Bare: a\rX-Next: b"),
    "a space before the colon": infer("X-Space : a"),
    "a zero byte": infer("X-Zero: a\x00b"),
    "a target of non-ascii bytes": request(b"/engines/n\xc3\xa9t/infer", JSON),
    "a space in the target": request("/engines/a b/infer", JSON),
    "an upgrade": request(INFER, b"", "Upgrade: h2c", "Connection: upgrade"),
    "an upgrade to websocket": request(INFER, b"", "Upgrade: websocket", "Connection: Upgrade"),
    "1.2": infer(version="1.2"),
    "0.9": b"POST /engines/net/infer\r\n\r\n",
    "a head too long": infer("X-Long: " + "a" * 65_536),
}
LAST = request("/health/live", b"", "Connection: close", method="GET")


@dataclass(frozen=True)
class Sent:
    """Bytes to send, cut into pieces, and the number of answers to them."""

    names: tuple[str, ...]
    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, requests: dict[str, bytes], cuts: list[int]) -> "Sent":
        whole = b"".join(requests.values())
        places = sorted({cut % len(whole) for cut in cuts})
        ends = [*places, len(whole)]
        return cls(
            tuple(requests), tuple(whole[a:b] for a, b in zip([0, *places], ends, strict=True) if a < b)
        )


CUTS = strategies.lists(strategies.integers(0, 20_000), max_size=6)
ENDS = ENDING | {"last": LAST}


@strategies.composite
def conversations(draw: strategies.DrawFn) -> list[Sent]:
    names = strategies.lists(strategies.sampled_from(sorted(KEPT)), max_size=4)
    # A stage's requests are sent together. The number keeps duplicate requests apart.
    stages = [
        {f"{number} {name}": KEPT[name] for number, name in enumerate(stage)}
        for stage in draw(strategies.lists(names, min_size=1, max_size=4))
    ]
    alone = draw(strategies.none() | strategies.sampled_from(sorted(ALONE)))
    if alone is None:
        end = draw(strategies.sampled_from(sorted(ENDS)))
        stages[-1] |= {end: ENDS[end]}
        # Bytes after the end get no answer and do no harm.
        stages[-1] |= {"behind": draw(strategies.sampled_from([b"", KEPT["json"], KEPT["GET"]]))}
    else:
        stages += [{alone: ALONE[alone]}, {"last": LAST}]
    return [Sent.of(requests, draw(CUTS)) for requests in stages if b"".join(requests.values())]


def in_turn(*names: str) -> list[Sent]:
    every = KEPT | ENDS | ALONE
    return [Sent.of({f"{number} {name}": every[name] for number, name in enumerate(names)}, [])]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_request_bytes": LIMIT})


@pytest.fixture
async def served(client: httpx.AsyncClient, app: FastAPI) -> FastAPI:
    """The application with the engines `net` and `other`."""
    for number, name in enumerate(("net", "other")):
        (await client.post("/engines", params={"name": name}, content=onnx_plan(number))).raise_for_status()
    return app


class Counted:
    """The application's counters: errors by code, requests by outcome, bytes under way."""

    def __init__(self, app: FastAPI, runtime: FakeRuntime) -> None:
        self._app = app
        self._runtime = runtime

    def now(self) -> dict[object, float]:
        samples = [s for family in services_of(self._app).metrics.errors.collect() for s in family.samples]
        errors = {s.labels["code"]: s.value for s in samples if s.name.endswith("_total")}
        ends = {(e.id, kind): n for e in self._runtime.stats() for kind, n in e.outcomes.items()}
        return {**errors, **ends, "inflight": services_of(self._app).inflight.taken}


async def conversation(app: FastAPI, protocol: type[TimedHttp], talk: list[Sent]) -> list[Answer]:
    """All answers of a server with this protocol, up to the end of the connection."""
    answers = []
    async with listening(app, protocol) as server, Connection(server) as connection:
        for number, sent in enumerate(talk):
            await connection.send(*sent.pieces)
            count = len(sent.names) if number < len(talk) - 1 else None
            while count is None or count > 0:
                answer = await connection.answer()
                if answer is None:
                    return answers
                answers.append(answer)
                if count is not None and answer.status >= 200:
                    count -= 1
    raise AssertionError("the last request ends the connection")


@given(conversations())
@example(in_turn(*KEPT, "last"))
@example(in_turn(*reversed(KEPT), "last"))
@example(in_turn("binary", "binary", "GET", "binary", "close"))
@how(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_conversation_gets_the_answers_of_the_framework(
    served: FastAPI, runtime: FakeRuntime, talk: list[Sent]
) -> None:
    counted = Counted(served, runtime)
    steps = [counted.now()]
    answers = []
    for protocol in (TimedHttp, InferProtocol):
        answers.append(await conversation(served, protocol, talk))
        steps.append(counted.now())
    framework, ours = answers
    assert ours == framework
    before, between, after = steps
    assert {key: after[key] - between.get(key, 0) for key in after} == {
        key: between.get(key, 0) - before.get(key, 0) for key in after
    }
    assert after["inflight"] == 0


@pytest.mark.parametrize("name", [*KEPT, *ENDING, *ALONE])
async def test_each_request_gets_the_answer_of_the_framework(served: FastAPI, name: str) -> None:
    every = KEPT | ENDING | ALONE
    talk = [*[Sent.of({name: every[name]}, [])] * 2, Sent.of({"last": LAST}, [])]
    ours = await conversation(served, InferProtocol, talk)
    assert ours == await conversation(served, TimedHttp, talk)
