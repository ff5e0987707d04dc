"""Requests over HTTP for an engine that is not resident: they wait while it is loaded, on both ways."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.connections import (
    INFER,
    WAYS,
    Connection,
    Listening,
    all_taken_back,
    counted,
    infer,
    listening,
    request,
    value,
)
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime
from tests.waiting import until
from trtserve.engines.demand import Demand
from trtserve.engines.engine import State
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LOADS = 2  # at the beginning of a test
DATA = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [3, 0, 0, 0]}]})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget that holds one engine."""
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=f"cpu={MEMORY_BYTES * 3 // 2}")


@pytest.fixture
async def cold(client: httpx.AsyncClient, app: FastAPI, runtime: FakeRuntime) -> AsyncIterator[FastAPI]:
    """The application, whose engine `net` was evicted, and whose loads wait for the gate."""
    for seed, query in enumerate(("name=net&max_queue_size=2", "name=other")):
        (await client.post(f"/engines?{query}", content=onnx_plan(seed))).raise_for_status()
    assert services_of(app).registry.resolve("net").engine.state is State.DORMANT
    runtime.load_gate.clear()
    yield app
    runtime.load_gate.set()


def demand(app: FastAPI) -> Demand:
    return services_of(app).registry.demand


@asynccontextmanager
async def waiting(app: FastAPI, *pieces: bytes) -> AsyncIterator[tuple[Listening, Connection]]:
    """A connection whose request waits until its engine is loaded."""
    async with listening(app) as server, Connection(server) as connection:
        await connection.send(*pieces)
        await until(lambda: demand(app).waiting == 1)
        yield server, connection


@pytest.mark.parametrize("way", WAYS)
async def test_a_request_waits_for_its_engine_and_is_answered(
    cold: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    async with waiting(cold, infer(5, 1, *WAYS[way])) as (_, connection):
        runtime.load_gate.set()
        assert value(await connection.answer()) == 5
        assert value(await connection.ask(infer(6, 1, *WAYS[way]))) == 6
    await all_taken_back(cold)
    assert len(runtime.loads) == LOADS + 1
    assert (demand(cold).waits, demand(cold).late, demand(cold).hits) == (1, 1, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_body_in_pieces_and_a_second_request_behind_it_are_answered_in_order(
    cold: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    first, second = infer(1, 1, *WAYS[way]), infer(2, 1, *WAYS[way])
    async with waiting(cold, first[:-9], first[-9:] + second) as (_, connection):
        runtime.load_gate.set()
        assert [value(await connection.answer()) for _ in range(2)] == [1, 2]
    await all_taken_back(cold)


@pytest.mark.parametrize("way", WAYS)
async def test_json_and_raw_bodies_wait_too(cold: FastAPI, runtime: FakeRuntime, way: str) -> None:
    raw = request(INFER, bytes(16), "Inference-Header-Content-Length: 0", *WAYS[way])
    for body in (request(INFER, DATA.encode(), *WAYS[way]), raw):
        runtime.load_gate.clear()
        async with waiting(cold, body) as (_, connection):
            runtime.load_gate.set()
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200, answer
        await services_of(cold).registry.demand.resident("other")
        assert services_of(cold).registry.resolve("net").engine.state is State.DORMANT
    await all_taken_back(cold)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["header", "binary", "json"])
async def test_the_wait_ends_at_the_deadline(
    cold: FastAPI, runtime: FakeRuntime, way: str, form: str
) -> None:
    document = json.loads(DATA) | {"parameters": {"timeout": 5000}}
    asked = {
        "header": infer(5, 1, "Inference-Timeout-Ms: 5", *WAYS[way]),
        "binary": infer(5, 1, *WAYS[way], parameters={"timeout": 5000, "binary_data_output": True}),
        "json": request(INFER, json.dumps(document).encode(), *WAYS[way]),
    }
    async with listening(cold) as server, Connection(server) as connection:
        answer = await connection.ask(asked[form])
        assert answer.status == 504, answer
        assert "deadline passed while engine" in answer.body.decode()
        assert demand(cold).waiting == 0
        runtime.load_gate.set()
        assert value(await connection.ask(infer(6, 1, *WAYS[way]))) == 6
    assert counted(cold)["DeadlineExceeded"] == 1
    await all_taken_back(cold)


@pytest.mark.parametrize("way", WAYS)
async def test_a_wrong_request_is_refused_without_a_load(
    cold: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    async with listening(cold) as server, Connection(server) as connection:
        answer = await connection.ask(request(INFER, b'{"inputs": 7}', *WAYS[way]))
        assert answer.status == 400, answer
    assert len(runtime.loads) == LOADS
    assert services_of(cold).registry.resolve("net").engine.state is State.DORMANT
    await all_taken_back(cold)


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_waits_no_longer(cold: FastAPI, runtime: FakeRuntime, way: str) -> None:
    async with waiting(cold, infer(5, 1, *WAYS[way])) as (_, connection):
        connection.leave()
        await until(lambda: demand(cold).waiting == 0)
        await all_taken_back(cold)
        runtime.load_gate.set()
        await until(lambda: services_of(cold).registry.resolve("net").engine.state is State.READY)
    assert counted(cold)["Cancelled"] == 1
    assert all(stats.outcomes == {} for stats in runtime.stats())


@pytest.mark.parametrize("way", WAYS)
async def test_more_requests_than_the_queue_takes_are_refused(
    cold: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    async with (
        waiting(cold, infer(1, 1, *WAYS[way])) as (server, first),
        Connection(server) as second,
        Connection(server) as third,
    ):
        await second.send(infer(2, 1, *WAYS[way]))
        await until(lambda: demand(cold).waiting == 2)
        answer = await third.ask(infer(3, 1, *WAYS[way]))
        assert answer.status == 429, answer
        assert int(answer.header("retry-after") or 0) >= 1
        runtime.load_gate.set()
        assert [value(await each.answer()) for each in (first, second)] == [1, 2]
    await all_taken_back(cold)


@pytest.mark.parametrize("way", WAYS)
async def test_an_unload_ends_the_wait_with_a_503(cold: FastAPI, runtime: FakeRuntime, way: str) -> None:
    async with waiting(cold, infer(5, 1, *WAYS[way])) as (_, connection):
        unloading = asyncio.create_task(services_of(cold).registry.unload("net"))
        answer = await connection.answer()
        assert answer is not None
        assert (answer.status, b"is being removed or unloaded" in answer.body) == (503, True)
        runtime.load_gate.set()
        await unloading
    await all_taken_back(cold)


async def test_the_connection_of_a_waiting_request_is_given_up_when_the_drain_time_is_over(
    cold: FastAPI,
) -> None:
    async with waiting(cold, infer(5)) as (server, connection):
        server.end_drain()
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 503
        assert await connection.answer() is None
        await until(lambda: demand(cold).waiting == 0)
    await all_taken_back(cold)


async def test_a_model_that_is_not_resident_is_ready_and_described(
    cold: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    for path in ("/v2/models/net/ready", "/v2/models/net", "/v2/models/net/config", "/v2/models/net/stats"):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.get("/health/ready")).status_code == 200
    index = (await client.post("/v2/repository/index", json={"ready": True})).json()
    assert {model["name"]: model["reason"] for model in index} == {
        "net": "not resident: the next request loads it",
        "other": "",
    }
    assert len(runtime.loads) == LOADS
    engine = (await client.get("/engines/net")).json()
    assert (engine["state"], engine["memory"]) == ("DORMANT", runtime_memory())
    assert engine["inputs"]


def runtime_memory() -> dict[str, dict[str, int]]:
    return {"cpu": {"weights": MEMORY_BYTES - 1024, "contexts": 1024}}


async def test_a_model_that_was_never_loaded_is_loaded_to_be_described(
    settings: Settings, cold: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    services_of(cold).registry.resolve("net").engine.info = None
    runtime.load_gate.set()
    assert (await client.get("/v2/models/net")).json()["inputs"]
    assert len(runtime.loads) == LOADS + 1
    for part in ("graph", "module"):
        assert (await client.get(f"/engines/other/{part}")).status_code == 200


async def test_metrics_tell_of_residency(
    cold: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.load_gate.set()
    async with listening(cold) as server, Connection(server) as connection:
        for number in range(3):
            assert value(await connection.ask(infer(number))) == number
    page = (await client.get("/metrics")).text
    for line in (
        "trtserve_residency_hits_total 2.0",
        "trtserve_residency_waits_total 1.0",
        "trtserve_residency_loads_total 1.0",
        "trtserve_residency_evictions_total 2.0",
        "trtserve_residency_waiting 0.0",
        'trtserve_engines{state="DORMANT"} 1.0',
    ):
        assert line in page.splitlines()
    held, most = (
        re.search(rf'^trtserve_memory_{name}_bytes{{device="cpu"}} (\S+)$', page, re.MULTILINE)
        for name in ("resident", "budget")
    )
    assert held is not None
    assert most is not None
    assert (float(held[1]), float(most[1])) == (MEMORY_BYTES, MEMORY_BYTES * 3 // 2)
    assert 'device="cpu",engine="net"' in page
    assert "trtserve_engine_cold_start_seconds{" in page
