"""A replica serves what it is told to: it fetches plans, moves names, and removes the rest."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from runtime_ext import Error
from tests.asgi import refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import error
from tests.waiting import until
from trtserve.errors import ExecutionFailed, InvalidInput, NotFound, Unavailable
from trtserve.ray.config import Served
from trtserve.ray.replica import Replica
from trtserve.ray.shared_plans import SharedPlans, publish
from trtserve.ray.unchanging import RefuseChanges
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

X = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime) -> AsyncIterator[FastAPI]:
    app = create_app(settings, runtime=runtime)
    app.add_middleware(RefuseChanges)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def plans(tmp_path: Path) -> SharedPlans:
    (tmp_path / "plans").mkdir()
    return SharedPlans(str(tmp_path / "plans"))


@pytest.fixture
def replica(app: FastAPI, plans: SharedPlans) -> Replica:
    return Replica(services_of(app), plans)


@pytest.fixture
def digests(plans: SharedPlans, tmp_path: Path) -> list[str]:
    """Of three plans in the folder."""
    found = []
    for seed in range(3):
        (tmp_path / "net.onnx").write_bytes(onnx_plan(seed))
        found.append(publish(tmp_path / "net.onnx", plans.url))
    return found


def served(**engines: dict[str, Any]) -> Served:
    return Served.read({"engines": engines})


async def ask(replica: Replica, name: str, version: int | None = None) -> np.ndarray[Any, Any]:
    return (await replica.infer(name, {"x": X}, version, None))["y"]


async def listed(client: httpx.AsyncClient) -> dict[str, list[int]]:
    """The names with their versions."""
    names = (await client.get("/names")).json()["names"]
    return {name["name"]: [version["version"] for version in name["versions"]] for name in names}


async def test_the_engines_are_fetched_and_answer_by_name(
    replica: Replica, client: httpx.AsyncClient, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}, b={"sha256": digests[1], "max_batch_size": 8}))
    assert np.array_equal(await ask(replica, "a"), X)
    assert (await client.get("/engines/b")).json()["max_batch_size"] == 8
    assert await listed(client) == {"a": [1], "b": [1]}


async def test_a_new_plan_takes_the_name_and_the_old_engine_goes(
    replica: Replica, client: httpx.AsyncClient, runtime: FakeRuntime, digests: list[str], tmp_path: Path
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}, b={"sha256": digests[1]}))
    loads = len(runtime.loads)
    (tmp_path / "plans" / digests[1]).unlink()  # what is as it was is not fetched again
    await replica.serve(served(a={"sha256": digests[2], "version": 7}, b={"sha256": digests[1]}))
    assert len(runtime.loads) == loads + 1
    assert await listed(client) == {"a": [7], "b": [1]}
    assert len((await client.get("/engines")).json()["engines"]) == 2
    assert np.array_equal(await ask(replica, "a", 7), X)
    with pytest.raises(NotFound):
        await ask(replica, "a", 1)


@pytest.mark.parametrize("versions", [(1, 2, 1), (1, 2, 3), (1, 1, 1), (7, 3, 5)])
async def test_the_way_back_leads_to_any_version(
    replica: Replica, client: httpx.AsyncClient, digests: list[str], versions: tuple[int, ...]
) -> None:
    for version, digest in zip(versions, [digests[0], digests[1], digests[0]], strict=True):
        await replica.serve(served(a={"sha256": digest, "version": version}))
        assert await listed(client) == {"a": [version]}
        assert str((await client.get("/engines/a")).json()["id"]) == str(int(digest[:13], 16))


async def test_a_plan_that_stays_can_become_another_version(
    replica: Replica, client: httpx.AsyncClient, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0], "version": 1}))
    await replica.serve(served(a={"sha256": digests[0], "version": 4}))
    assert await listed(client) == {"a": [4]}


async def test_the_old_engine_answers_until_the_new_one_is_ready(
    replica: Replica, runtime: FakeRuntime, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}))
    runtime.load_gate.clear()
    loads = len(runtime.loads)
    update = asyncio.create_task(replica.serve(served(a={"sha256": digests[1]})))
    await until(lambda: len(runtime.loads) > loads)
    assert np.array_equal(await ask(replica, "a"), X)
    runtime.load_gate.set()
    await update


async def test_a_name_that_is_no_longer_served_is_removed_with_its_engine(
    replica: Replica, client: httpx.AsyncClient, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}, b={"sha256": digests[0]}))
    await replica.serve(served(b={"sha256": digests[0]}))
    assert await listed(client) == {"b": [1]}
    await replica.serve(served())
    assert (await client.get("/engines")).json()["engines"] == []


async def test_an_option_that_is_no_longer_asked_for_has_its_default_again(
    replica: Replica, client: httpx.AsyncClient, digests: list[str]
) -> None:
    before = None
    for options in ({}, {"max_queue_size": 3}, {}):
        await replica.serve(served(a={"sha256": digests[0], **options}))
        before = before or (await client.get("/engines/a")).json()["max_queue_size"]
    assert (await client.get("/engines/a")).json()["max_queue_size"] == before


async def test_a_failed_update_leaves_the_old_engine_and_the_next_call_tries_again(
    replica: Replica, runtime: FakeRuntime, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}))
    runtime.load_error = error("ExecutionFailed", "this plan is broken")
    with pytest.raises(Error, match="broken"):
        await replica.serve(served(a={"sha256": digests[1]}))
    assert np.array_equal(await ask(replica, "a"), X)
    runtime.load_error = None
    await replica.serve(served(a={"sha256": digests[1], "version": 2}))
    assert np.array_equal(await ask(replica, "a", 2), X)


async def test_a_damaged_plan_is_not_served(
    replica: Replica, app: FastAPI, digests: list[str], tmp_path: Path
) -> None:
    (tmp_path / "plans" / digests[0]).write_bytes(onnx_plan("other"))
    with pytest.raises(Unavailable, match=f"The plan {digests[0]} in .* is damaged"):
        await replica.serve(served(a={"sha256": digests[0]}))
    assert services_of(app).registry.engines() == []
    assert list((services_of(app).settings.store / "incoming").iterdir()) == []


async def test_a_plan_that_is_not_in_the_folder_is_named(replica: Replica, digests: list[str]) -> None:
    with pytest.raises(Unavailable, match=f"{'0' * 64} cannot be read: .* To put a plan there: python -m"):
        await replica.serve(served(a={"sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"engine": {}}, "engine: Extra inputs"),
        ({"engines": {"a": {}}}, "engines.a.sha256: Field required"),
        ({"engines": {"a": {"sha256": "latest"}}}, "engines.a.sha256: String should match"),
        ({"engines": {"1a": {"sha256": "0" * 64}}}, "a letter or _"),
        ({"engines": {"a": {"sha256": "0" * 64, "max_bach_size": 8}}}, "max_bach_size: Extra inputs"),
    ],
)
def test_a_configuration_that_cannot_be_read_says_where(config: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        Served.read(config)


async def test_errors_are_such_that_other_processes_can_read_them(
    replica: Replica, runtime: FakeRuntime, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}))

    def fail(_: Any) -> Any:
        raise error("ExecutionFailed", "it broke")

    runtime.compute = fail
    with pytest.raises(ExecutionFailed, match="broke") as failure:
        await ask(replica, "a")
    assert type(pickle.loads(pickle.dumps(failure.value))) is ExecutionFailed
    with pytest.raises(NotFound, match="There is no engine 'b'"):
        await ask(replica, "b")
    with pytest.raises(InvalidInput):
        await replica.infer("a", {"z": X}, None, None)


async def test_what_would_change_one_replica_is_refused_over_http(
    replica: Replica, client: httpx.AsyncClient, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}))
    for method, path in (
        ("POST", "/engines?name=b"),
        ("PUT", "/engines/b"),
        ("DELETE", "/engines/a"),
        ("PUT", "/names/a"),
        ("POST", "/v2/repository/models/a/unload"),
        ("POST", "/v2/systemsharedmemory/region/r/register"),
        ("POST", "/v2/logging"),
    ):
        answer = await client.request(method, path, content=onnx_plan(9))
        assert "user_config" in refused(answer, 403, "InvalidInput"), path
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]
    for path in ("/engines/a/infer", "/v2/models/a/infer", "/v2/models/a/versions/1/infer"):
        answer = await client.post(path, json={"inputs": inputs})
        assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]
    assert (await client.post("/v2/repository/index", json={})).status_code == 200
    assert (await client.get("/engines")).status_code == 200


async def test_a_replica_whose_device_is_dead_is_unhealthy(
    replica: Replica, runtime: FakeRuntime, digests: list[str]
) -> None:
    await replica.serve(served(a={"sha256": digests[0]}))
    replica.check()
    runtime.dead = {"cpu": "it fell off"}
    with pytest.raises(Unavailable, match="it fell off"):
        replica.check()
