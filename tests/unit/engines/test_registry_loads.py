"""Loads that hang, and loads short of memory, threads or descriptors."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.loads import (
    HANGS,
    HangingRuntime,
    Sleep,
    Trial,
    state,
    stored,
)
from tests.unit.serving import Server, loaded, serving
from tests.waiting import until
from trtserve.engines import readiness
from trtserve.engines.engine import State
from trtserve.errors import Unavailable
from trtserve.settings import Settings
from trtserve.store.reserve import DiskFull

pytestmark = pytest.mark.anyio


@pytest.fixture
def runtime() -> Iterator[HangingRuntime]:
    runtime = HangingRuntime()
    yield runtime
    runtime.gate.set()


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """Settings that abandon a load at once, also at the stop."""
    return settings.model_copy(update={"load_timeout_s": 0.2, "drain_s": 0.0})


# -- hanging


async def test_a_hanging_load_is_abandoned_and_delays_no_other(
    hasty: Settings, runtime: HangingRuntime
) -> None:
    async with serving(hasty, runtime) as server:
        hung = [asyncio.create_task(server.add(HANGS + bytes([0x42, 1, n]))) for n in range(8)]
        await until(lambda: runtime.hanging >= 2)
        ends = await asyncio.gather(*hung, return_exceptions=True)
        assert {type(end) for end in ends} == {Unavailable}
        assert "took longer than 0.2 s and was given up" in str(ends[0])
        assert server.registry.engines() == []
        assert server.files() == []
        assert server.registry.loads_given_up == 8
        await server.add(onnx_plan(), "net")
        assert server.registry.ready("net")


async def test_an_engine_loaded_by_an_abandoned_load_is_released(
    hasty: Settings, runtime: HangingRuntime
) -> None:
    async with serving(hasty, runtime) as server:
        with pytest.raises(Unavailable, match="given up"):
            await server.add(HANGS)
        with pytest.raises(Unavailable, match="has not ended yet, and holds its ID"):
            await server.add(HANGS)
        # Its plan has been deleted meanwhile; the runtime copes with that.
        (hasty.store / "plans" / f"{hashlib.sha256(HANGS).hexdigest()}.plan").write_bytes(HANGS)
        runtime.gate.set()
        await until(lambda: not server.registry.loads_given_up)
        assert runtime.engines() == []
        assert len(runtime.unloads) == 1
        await server.add(HANGS, "net")
        assert server.registry.ready("net")


async def test_a_stored_engine_whose_load_hangs_fails_and_can_be_removed(
    hasty: Settings, runtime: HangingRuntime
) -> None:
    (id,) = await stored(hasty, HANGS)
    async with serving(hasty, runtime) as server:
        await loaded(server)
        failed = server.registry.resolve(str(id)).engine
        assert failed.state is State.FAILED
        assert failed.reason is not None
        assert "--load-timeout-s" in failed.reason
        readiness.check_server(runtime, server.registry)
        await server.registry.remove(str(id))
        assert server.registry.engines() == []


async def test_after_a_hang_the_next_start_runs_a_trial_first(
    hasty: Settings, runtime: HangingRuntime
) -> None:
    (id,) = await stored(hasty, HANGS)
    async with serving(hasty, runtime) as server:
        await loaded(server)
        assert len(list((hasty.store / "loading").iterdir())) == 1
        await server.registry.close()
        server.store.close()
        trial = Trial()
        trial.failures[id] = Unavailable("The trial took too long.")
        async with serving(hasty, trial=trial) as again:
            await loaded(again)
            assert trial.tried == [id]
            assert again.registry.resolve(str(id)).engine.reason == "The trial took too long."
            assert again.runtime.loads == []


async def test_the_stop_waits_for_a_load_no_longer_than_the_drain_time(
    settings: Settings, runtime: HangingRuntime
) -> None:
    patient = settings.model_copy(update={"drain_s": 0.0})
    async with serving(patient, runtime) as server:
        adding = asyncio.create_task(server.add(HANGS))
        await until(lambda: runtime.hanging == 1)
        await server.registry.close()
        with pytest.raises(Unavailable, match="The server is stopping"):
            await adding
        assert not runtime.gate.is_set()


async def test_the_number_of_waiting_loads_is_limited(settings: Settings, runtime: HangingRuntime) -> None:
    few = settings.model_copy(update={"max_waiting_loads": 1, "drain_s": 0.0})
    async with serving(few, runtime) as server:
        adding = [asyncio.create_task(server.add(HANGS + bytes([0x42, 1, n]))) for n in range(3)]
        await until(lambda: server.registry.loads_waiting == 1)
        with pytest.raises(Unavailable, match="1 loads are waiting") as refused:
            await server.add(onnx_plan())
        assert refused.value.retry_after is not None
        runtime.gate.set()
        await asyncio.gather(*adding)
        await server.add(onnx_plan())


# -- shortages


SHORT = "the openvino backend ran out of threads"


@pytest.fixture
async def short(settings: Settings) -> AsyncIterator[tuple[Server, Sleep, int]]:
    """A server whose engine got no threads at the start, and that now sleeps before the next try."""
    (id,) = await stored(settings, onnx_plan())
    runtime, sleep = FakeRuntime(), Sleep()
    runtime.load_error = error("Unavailable", SHORT, 5.0)
    async with serving(settings, runtime, sleep=sleep) as server:
        await until(lambda: len(sleep.slept) == 1)
        yield server, sleep, id


async def test_a_stored_engine_is_loaded_once_the_shortage_ends(
    short: tuple[Server, Sleep, int],
) -> None:
    server, sleep, id = short
    for times in range(2, 9):
        await sleep.wake()
        await until(lambda times=times: len(sleep.slept) == times)
    assert sleep.slept == [1, 2, 4, 8, 16, 32, 60, 60]
    engine = server.registry.resolve(str(id)).engine
    assert (engine.state, engine.reason) == (State.LOADING, SHORT)
    with pytest.raises(Unavailable, match=f"1 to go. Engine {id}: {SHORT}"):
        readiness.check_server(server.runtime, server.registry)
    with pytest.raises(Unavailable, match=f"is tried again: {SHORT}"):
        server.registry.ready(str(id))
    server.runtime.load_error = None
    await sleep.wake()
    await loaded(server)
    assert (engine.state, engine.reason) == (State.READY, None)
    readiness.check_server(server.runtime, server.registry)


async def test_a_load_that_fails_for_the_plan_is_not_retried(short: tuple[Server, Sleep, int]) -> None:
    server, sleep, id = short
    server.runtime.load_error = error("InvalidInput", "bad magic")
    await sleep.wake()
    await loaded(server)
    assert state(server, id) is State.FAILED
    readiness.check_server(server.runtime, server.registry)


@pytest.mark.parametrize("change", ["remove", "unload", "load", "upload"])
async def test_a_change_to_a_waiting_engine_ends_the_wait(
    short: tuple[Server, Sleep, int], change: str
) -> None:
    server, sleep, id = short
    if change in {"load", "upload"}:
        for _ in range(2):  # the shortage persists: the retries go on
            with pytest.raises(Exception, match=SHORT):
                await (server.registry.load(str(id)) if change == "load" else server.add(onnx_plan()))
            assert state(server, id) is State.LOADING
        server.runtime.load_error = None
    match change:
        case "remove":
            await server.registry.remove(str(id))
        case "unload":
            await server.registry.unload(str(id))
        case "load":
            await server.registry.load(str(id))
        case _:
            await server.add(onnx_plan())
    loads = len(server.runtime.loads)
    await sleep.wake()
    await loaded(server)
    assert len(server.runtime.loads) == loads
    ends = {"remove": [], "unload": [State.UNLOADED]}.get(change, [State.READY])
    assert [engine.state for engine in server.registry.engines()] == ends
    readiness.check_server(server.runtime, server.registry)


async def test_the_stop_does_not_wait_for_the_next_retry(short: tuple[Server, Sleep, int]) -> None:
    server, _, id = short
    await server.registry.close()
    assert state(server, id) is State.FAILED


async def test_an_upload_during_a_shortage_is_refused_for_now(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.load_error = error("Unavailable", SHORT, 5.0)
    async with serving(settings, runtime) as server:
        with pytest.raises(Exception, match=SHORT) as refused:
            await server.add(onnx_plan())
        assert getattr(refused.value, "retry_after", None) == 5.0
        assert server.files() == []


@pytest.mark.parametrize("short_of", ["threads", "the disk"])
async def test_an_unloaded_engine_stays_unloaded_in_a_shortage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, short_of: str
) -> None:
    def full(*_: object) -> None:
        raise DiskFull("The store's disk is full.")

    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        with monkeypatch.context() as patched:
            if short_of == "threads":
                server.runtime.load_error = error("Unavailable", SHORT, 5.0)
            else:
                patched.setattr(server.store, "commit", full)
            with pytest.raises(Exception, match=r"full|threads") as refused:
                await server.registry.load("net")
        assert getattr(refused.value, "kind", "") == "Unavailable"
        assert (state(server, engine.id), server.runtime.engines()) == (State.UNLOADED, [])
        server.runtime.load_error = None
        await server.registry.load("net")
        assert server.registry.ready("net")


async def test_a_thread_that_cannot_be_started_is_a_shortage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with serving(settings) as server:
        await server.add(tensorrt_plan())  # starts the other threads
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fail)
            with pytest.raises(Unavailable, match="ran out of threads") as refused:
                await server.add(onnx_plan())
        assert refused.value.retry_after is not None


async def test_no_trial_begins_without_memory_for_a_thread(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial()

    def fail() -> None:
        raise Unavailable("no memory", retry_after=5.0)

    async with serving(settings, trial=trial) as server:
        with monkeypatch.context() as patched:
            patched.setattr("trtserve.engines.loading.check_memory", fail)
            with pytest.raises(Unavailable, match="no memory"):
                await server.add(onnx_plan())
        assert (trial.tried, server.files()) == ([], [])
        await server.add(onnx_plan())
        assert len(trial.tried) == 1


async def test_no_load_begins_without_memory_for_a_thread(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Unavailable("no memory", retry_after=5.0)

    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        with monkeypatch.context() as patched:
            patched.setattr("trtserve.engines.loading.check_memory", fail)
            with pytest.raises(Exception, match="no memory"):
                await server.registry.load("net")
        assert len(server.runtime.loads) == 1
        await server.registry.load("net")
        assert server.registry.ready("net")
