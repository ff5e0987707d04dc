"""The client to import, against the application with a fake runtime, and against made-up answers."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Input, Output, TensorSpec
from trtserve import errors
from trtserve.client import AsyncClient, Client, NoAnswer, strings

pytestmark = pytest.mark.anyio

X = np.arange(8, dtype=np.float32).reshape(2, 4)
Answers = Callable[[httpx.Request], httpx.Response]


def async_client(app: FastAPI) -> AsyncClient:
    return AsyncClient("trtserve", transport=httpx.ASGITransport(app=app, raise_app_exceptions=False))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    file.write_bytes(onnx_plan())
    return file


class Refusing:
    """Answers requests with these, the last one again and again; a client of it sleeps without waiting."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers = list(answers)
        self.bodies: list[bytes] = []
        self.lengths: list[str | None] = []  # as the heads have them
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        self.lengths.append(request.headers.get("Content-Length"))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def client(self, attempts: int = 5) -> Client:
        transport = httpx.MockTransport(self)
        return Client("http://server", transport=transport, sleep=self.slept.append, attempts=attempts)


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": f"It is {code}.", "code": code}, headers=headers)


FULL = {"Retry-After": "7"}
READY = {"id": 1, "state": "READY"}


async def test_a_plan_is_added_asked_and_removed(app: FastAPI, plan: Path) -> None:
    heard: list[tuple[int, int]] = []
    async with async_client(app) as client:
        engine = await client.add(
            plan, name="net", max_batch_size=8, progress=lambda sent, size: heard.append((sent, size))
        )
        assert (engine["name"], engine["state"], engine["max_batch_size"]) == ("net", "READY", 8)
        size = len(onnx_plan())
        assert heard[-1] == (size, size)
        outputs = await client.infer("net", x=X)
        np.testing.assert_array_equal(outputs["y"], X)
        assert [row["name"] for row in await client.engines()] == ["net"]
        await client.remove("net")
        with pytest.raises(errors.NotFound, match="no engine 'net'"):
            await client.engine("net")


async def test_tensors_of_torch_are_answered_with_such(served: FastAPI) -> None:
    x = torch.from_numpy(X)
    async with async_client(served) as client:
        y = (await client.infer("net", {"x": x}))["y"]
    assert isinstance(y, torch.Tensor)
    assert torch.equal(y, x)


async def test_an_array_of_any_layout_is_sent_as_it_looks(served: FastAPI) -> None:
    big_endian = np.asfortranarray(X).astype(">f4")
    async with async_client(served) as client:
        np.testing.assert_array_equal((await client.infer("net", x=big_endian))["y"], X)
        np.testing.assert_array_equal((await client.infer("net", x=np.repeat(X, 2, axis=1)[:, ::2]))["y"], X)


async def test_what_is_no_tensor_is_refused_before_it_is_sent(served: FastAPI) -> None:
    async with async_client(served) as client:
        with pytest.raises(errors.InvalidInput, match="Input 'x' is an array of complex128"):
            await client.infer("net", x=[1j])
        with pytest.raises(errors.InvalidInput, match="Input 'z' is an array of complex128"):
            await client.infer("net", x=["cat"], z=[1j])
        with pytest.raises(errors.InvalidInput, match="Input 'x' has 1 among its strings"):
            await client.infer("net", x=["cat", 1])


async def test_strings_for_an_engine_of_numbers_are_refused_by_the_server(served: FastAPI) -> None:
    async with async_client(served) as client:
        with pytest.raises(
            errors.InvalidInput, match=r"Input 'x' is BYTES \[1\]; the engine's input is FP32"
        ):
            await client.infer("net", x=["cat"])


class Counting(httpx.ASGITransport):
    requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return await super().handle_async_request(request)


def labels(inputs: Sequence[Input]) -> list[Output]:
    (_, _, (items, _), _), *_ = inputs
    return [Output.of("label", "BYTES", [items], b"\2\0\0\0\xffa" * items)]


async def test_an_engine_of_numbers_may_answer_with_strings(
    client: httpx.AsyncClient, app: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.outputs, runtime.compute = [TensorSpec("label", "BYTES", [-1])], labels
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    transport = Counting(app=app)
    async with AsyncClient("trtserve", transport=transport) as asking:
        for x in (X, X, torch.from_numpy(X)):
            found = (await asking.infer("net", x=x))["label"]
            assert found.tolist() == [b"\xffa", b"\xffa"]
    assert transport.requests == 3


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=4), st.booleans())
def test_strings_travel_as_they_are(elements: list[bytes], nested: bool) -> None:
    array = np.array(elements, object)
    body, headers = strings.encode({"x": array[None] if nested else array, "n": np.arange(3)})
    answered = body.replace(b'"inputs"', b'"outputs"')
    length = int(headers[strings.HEADER_LENGTH]) + len(answered) - len(body)
    found = strings.decode(answered, str(length))
    assert found["x"].shape == ((1, len(elements)) if nested else (len(elements),))
    assert found["x"].ravel().tolist() == elements
    assert found["n"].tolist() == [0, 1, 2]


async def test_a_refused_tensor_has_the_servers_sentence(served: FastAPI) -> None:
    async with async_client(served) as client:
        with pytest.raises(errors.InvalidInput, match=r"The inputs of engine \d+ are x\."):
            await client.infer("net", z=X)


def test_a_full_queue_is_waited_out_as_the_server_says() -> None:
    server = Refusing(refusal(429, "QueueFull", **FULL), httpx.Response(200, json=READY))
    assert server.client().engine("net") == READY
    assert server.slept == [7.0]


def test_the_last_refusal_is_raised() -> None:
    server = Refusing(refusal(503, "Unavailable", **FULL))
    with pytest.raises(errors.Unavailable, match=r"It is Unavailable\."):
        server.client(attempts=3).engine("net")
    assert server.slept == [7.0, 7.0]


def test_what_does_not_pass_is_not_sent_again() -> None:
    server = Refusing(refusal(503, "Unavailable"))
    with pytest.raises(errors.Unavailable):
        server.client().engine("net")
    assert (len(server.bodies), server.slept) == (1, [])


def test_an_upload_that_is_sent_again_is_whole(plan: Path) -> None:
    server = Refusing(refusal(503, "Unavailable", **FULL), httpx.Response(201, json=READY))
    server.client().add(plan)
    assert server.bodies == [plan.read_bytes()] * 2
    assert server.lengths == [str(plan.stat().st_size)] * 2


def test_add_waits_for_a_build(plan: Path) -> None:
    building, ready = {"id": 1, "state": "BUILDING"}, READY
    server = Refusing(httpx.Response(202, json=building), httpx.Response(200, json=ready))
    assert server.client().add(plan) == ready
    assert len(server.slept) == 1


def test_add_raises_why_a_build_failed(plan: Path) -> None:
    failed = {"id": 1, "state": "FAILED", "reason": "No such operator."}
    server = Refusing(
        httpx.Response(202, json={"id": 1, "state": "BUILDING"}), httpx.Response(200, json=failed)
    )
    with pytest.raises(errors.Unavailable, match=r"No such operator\. Engine 1 is FAILED"):
        server.client().add(plan)


async def test_options_change_while_the_engine_serves(app: FastAPI, runtime: FakeRuntime, plan: Path) -> None:
    async with async_client(app) as client:
        await client.add(plan, name="net", instances=2)
        engine = await client.change("net", instances=3, max_queue_size=None)
        assert (engine["instances"], engine["change"]["state"]) == (3, "DONE")
        runtime.refuses = lambda options: options.instances == 4
        with pytest.raises(errors.InvalidInput, match="serves on with its former options"):
            await client.change("net", instances=4)


def test_a_change_that_takes_long_is_waited_for() -> None:
    def change(state: str, reason: str | None = None) -> httpx.Response:
        return httpx.Response(202, json=READY | {"change": {"state": state, "reason": reason}})

    server = Refusing(change("WAITING"), change("LOADING"), change("DRAINING"), change("DONE"))
    assert server.client().change("net", instances=3)["change"]["state"] == "DONE"
    assert server.slept == [0.5] * 3
    failing = Refusing(change("LOADING"), change("FAILED", "It does not fit."))
    with pytest.raises(errors.Unavailable, match="does not fit"):
        failing.client().change("net", instances=3)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "InvalidInput", errors.Unauthenticated),
        (403, "InvalidInput", errors.Forbidden),
        (408, "DeadlineExceeded", errors.BodyStalled),
        (415, "InvalidInput", errors.UnsupportedMedia),
        *((status, code, getattr(errors, code)) for code, status in errors.HTTP_STATUS.items()),
    ],
)
def test_a_refusal_is_the_error_of_its_code(status: int, code: str, error: type[Exception]) -> None:
    with pytest.raises(errors.TrtserveError) as raised:
        Refusing(refusal(status, code)).client().engine("net")
    assert (type(raised.value), str(raised.value)) == (error, f"It is {code}.")


def test_an_answer_of_another_server_says_so() -> None:
    with pytest.raises(NoAnswer, match="answered 404 Not Found: does another server"):
        Refusing(httpx.Response(404, text="nginx")).client().engine("net")


def test_a_server_that_does_not_answer_is_not_asked_again() -> None:
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("refused")

    client = Client("server:1", transport=httpx.MockTransport(refuse))
    with client, pytest.raises(NoAnswer, match="No answer from http://server:1: refused"):
        client.version()
    assert len(asked) == 1


def test_both_clients_have_the_same_methods() -> None:
    dunder = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
    assert {dunder.get(name, name) for name in vars(Client)} == set(vars(AsyncClient))


def test_importing_the_client_loads_no_torch_and_no_runtime() -> None:
    script = "import sys, trtserve.client; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = set(ended.stdout.split())
    assert "trtserve.client.synchronous" in loaded
    assert not loaded & {"torch", "openvino", "runtime_ext", "fastapi", "pydantic", "trtserve.settings"}


def packed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


NOT_OURS = {
    "a page": httpx.Response(200, html="<html>Welcome to nginx!</html>"),
    "nothing": httpx.Response(200),
    "a number": httpx.Response(200, json=1),
    "a list": httpx.Response(200, json=[1]),
    "null": httpx.Response(200, json=None),
    "an empty object": httpx.Response(200, json={}),
    "another object": httpx.Response(200, json={"engines": 1, "names": 1, "lines": 1, "model_stats": 1}),
    "no text": httpx.Response(200, content=b"\xff\xfe"),
    "another place": httpx.Response(302, headers={"Location": "http://elsewhere/engines"}),
}
ASKED: dict[str, Callable[[Client], object]] = {
    "engines": lambda client: client.engines(),
    "engine": lambda client: client.engine("net"),
    "change": lambda client: client.change("net", instances=2),
    "names": lambda client: client.names(),
    "stats": lambda client: client.stats(),
    "logs": lambda client: client.logs(),
    "infer": lambda client: client.infer("net", x=X),
    "infer strings": lambda client: client.infer("net", x=["a"]),
}


@pytest.mark.parametrize("answer", NOT_OURS.values(), ids=list(NOT_OURS))
@pytest.mark.parametrize("ask", ASKED.values(), ids=list(ASKED))
def test_an_answer_of_something_else_is_told_as_that(
    ask: Callable[[Client], object], answer: httpx.Response
) -> None:
    with pytest.raises(NoAnswer, match=r"does another server (than trtserve )?run there"):
        ask(Refusing(answer).client())


@pytest.mark.parametrize(
    "body",
    [
        packed(b"{}" * 9),
        packed(b'{"y":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
        packed(b'{"y":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        (2**63).to_bytes(8, "little"),
    ],
)
def test_outputs_that_are_none_are_told_as_that(body: bytes) -> None:
    with pytest.raises(NoAnswer, match="POST /engines/net/infer is not one of trtserve's"):
        Refusing(httpx.Response(200, content=body)).client().infer("net", x=X)


def test_pages_that_lead_in_a_circle_are_not_followed_for_ever() -> None:
    answers = Refusing(httpx.Response(200, json={"engines": [], "next": "/engines?after=1"}))
    with pytest.raises(NoAnswer):
        answers.client().engines()
    assert len(answers.bodies) == 2


def test_a_redirect_is_not_taken_for_a_success() -> None:
    elsewhere = httpx.Response(302, headers={"Location": "http://elsewhere/"})
    for ask in (lambda client: client.remove("net"), lambda client: client.ready()):
        with pytest.raises(NoAnswer, match="The server answered 302 Found: does another server"):
            ask(Refusing(elsewhere).client())


@pytest.mark.parametrize("following", ["/engines", "http://elsewhere/engines?after=1", "//elsewhere/", 7])
def test_pages_that_lead_nowhere_are_not_followed(following: object) -> None:
    answers = Refusing(httpx.Response(200, json={"engines": [], "next": following}))
    with pytest.raises(NoAnswer):
        answers.client().engines()
    assert len(answers.bodies) == 1
