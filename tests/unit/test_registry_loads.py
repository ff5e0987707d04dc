"""Loads that crashed a former server, that hang, or that get no memory, threads or descriptors."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from service import readiness
from service.engine import State
from service.errors import InvalidInput, Unavailable
from service.metadata import StoredEngine
from service.settings import Settings
from service.store import Store
from service.trial import PlanCrashed
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.fakes.values import EngineInfo
from tests.unit.serving import Server, loaded, serving
from tests.waiting import HANGS_AFTER_S, until

pytestmark = pytest.mark.anyio

GOOD, BAD, OTHER = tensorrt_plan((10, 0, 0, 1)), tensorrt_plan((10, 0, 0, 2)), tensorrt_plan((10, 0, 0, 3))


class Trial:
    """Stands for trials: fails with what `failures` has for the engine's ID."""

    def __init__(self) -> None:
        self.tried: list[int] = []
        self.failures: dict[int, Exception] = {}
        self.running = 0
        self.most = 0

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        self.tried.append(engine.id)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if engine.id in self.failures:
            raise self.failures[engine.id]


class Sleep:
    """Stands for asyncio.sleep: sleeps until it is woken."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._wake = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._wake.clear()
        await self._wake.wait()

    async def wake(self) -> None:
        """Once it sleeps."""
        self._wake.set()


class HangingRuntime(FakeRuntime):
    """Loads of a plan that has b"hang" in it hang until `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.hanging = 0

    def load(self, id: int, plan: str, backend: str, options: Any) -> EngineInfo:
        if b"hang" in Path(plan).read_bytes():
            self.hanging += 1
            assert self.gate.wait(HANGS_AFTER_S)
        return super().load(id, plan, backend, options)


HANGS = onnx_plan() + b"\x42\x04hang"


@pytest.fixture
def runtime() -> Iterator[HangingRuntime]:
    runtime = HangingRuntime()
    yield runtime
    runtime.gate.set()


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """A load is given up at once where it does not end at once, or at the stop."""
    return settings.model_copy(update={"load_timeout_s": 0.2, "drain_s": 0.0})


unended: list[AbstractContextManager[None]] = []  # kept, so that nothing ends them


def end_during_loads(settings: Settings, *engines: int, crash: bool = True) -> None:
    """The server ended while these were being loaded."""
    store = Store(settings.store)
    digests = {engine.id: engine.digest for engine in store.engines()}
    for id in engines:
        load = store.marks.during(digests[id])
        load.__enter__()
        unended.append(load)
    if crash:
        (settings.store / "loading" / "crash").write_text("Fatal Python error: Segmentation fault")
    store.close()


async def stored(settings: Settings, *plans: bytes) -> list[int]:
    """The IDs of engines that a former server had."""
    async with serving(settings) as server:
        return [(await server.add(plan))[0].engine.id for plan in plans]


def state(server: Server, id: int) -> State:
    return server.registry.resolve(str(id)).engine.state


# -- crashes


async def test_what_crashed_a_server_is_tried_first_and_failed_where_it_crashes_again(
    settings: Settings,
) -> None:
    good, bad, other = await stored(settings, GOOD, BAD, OTHER)
    trial = Trial()
    trial.failures[bad] = PlanCrashed("The plan crashed TensorRT.")
    for crash in (True, False):
        end_during_loads(settings, good, bad, crash=crash)
        trial.tried.clear()
        async with serving(settings, trial=trial) as server:
            await loaded(server)
            assert sorted(trial.tried) == sorted([good, bad])
            assert trial.most == 1
            assert bad not in [id for id, *_ in server.runtime.loads]
            assert [state(server, id) for id in (good, bad, other)] == [
                State.READY,
                State.FAILED,
                State.READY,
            ]
            reason = server.registry.resolve(str(bad)).engine.reason
            assert reason is not None
            assert reason.startswith("It crashed the server when it was loaded at 20")
            assert reason.endswith("The plan crashed TensorRT.")
            readiness.check_server(server.runtime, server.registry)
    trial.tried.clear()
    async with serving(settings, trial=trial) as server:  # a later start: the mark is there still
        await loaded(server)
        assert trial.tried == [bad]
        assert state(server, bad) is State.FAILED


@pytest.mark.parametrize("again", ["load", "upload"])
async def test_an_explicit_load_tries_it_again_and_clears_it(settings: Settings, again: str) -> None:
    (bad,) = await stored(settings, BAD)
    trial = Trial()
    trial.failures[bad] = PlanCrashed("The plan crashed TensorRT.")
    end_during_loads(settings, bad)
    async with serving(settings, trial=trial) as server:
        await loaded(server)

        async def retry() -> None:
            await (server.registry.load(str(bad)) if again == "load" else server.add(BAD))

        with pytest.raises(InvalidInput, match="crashed"):
            await retry()
        assert state(server, bad) is State.FAILED
        trial.failures.clear()
        await retry()
        assert state(server, bad) is State.READY
        assert len(trial.tried) == 3
    async with serving(settings, trial=trial) as server:
        await loaded(server)
        assert state(server, bad) is State.READY
        assert len(trial.tried) == 3


async def test_a_plan_that_crashes_the_server_but_no_trial_is_left_alone_the_second_time(
    settings: Settings,
) -> None:
    good, bad = await stored(settings, GOOD, BAD)
    end_during_loads(settings, good, bad)
    async with serving(settings, trial=Trial()) as server:
        await loaded(server)
        assert {state(server, id) for id in (good, bad)} == {State.READY}
    for _ in range(2):
        end_during_loads(settings, bad)
    for _ in range(2):
        async with serving(settings, trial=Trial()) as server:
            await loaded(server)
            assert [id for id, *_ in server.runtime.loads] == [good]
            failed = server.registry.resolve(str(bad)).engine
            assert failed.state is State.FAILED
            assert failed.reason is not None
            assert "not for the first time" in failed.reason
    async with serving(settings, trial=Trial()) as server:
        await loaded(server)
        await server.registry.load(str(bad))
        assert state(server, bad) is State.READY


async def test_kills_and_power_cuts_fail_nobody(settings: Settings) -> None:
    ids = await stored(settings, GOOD, BAD)
    trial = Trial()
    for _ in range(5):
        end_during_loads(settings, *ids, crash=False)
    async with serving(settings, trial=trial) as server:
        await loaded(server)
        assert {state(server, id) for id in ids} == {State.READY}
        assert sorted(trial.tried) == sorted(ids)
        assert list((settings.store / "loading").iterdir()) == []


async def test_without_trials_what_crashed_a_server_is_loaded_once_more(settings: Settings) -> None:
    (bad,) = await stored(settings, BAD)
    end_during_loads(settings, bad)
    async with serving(settings) as server:
        await loaded(server)
        assert state(server, bad) is State.READY


async def test_the_mark_of_an_engine_that_was_removed_goes(settings: Settings) -> None:
    (bad,) = await stored(settings, BAD)
    trial = Trial()
    trial.failures[bad] = PlanCrashed("The plan crashed TensorRT.")
    end_during_loads(settings, bad)
    async with serving(settings, trial=trial) as server:
        await loaded(server)
        await server.registry.remove(str(bad))
    async with serving(settings):
        assert list((settings.store / "loading").iterdir()) == []


# -- trials of every backend


async def test_plans_of_every_backend_have_a_trial_before_they_are_loaded(settings: Settings) -> None:
    trial = Trial()
    async with serving(settings, trial=trial) as server:
        ids = [(await server.add(plan))[0].engine.id for plan in (onnx_plan(), tensorrt_plan())]
        assert trial.tried == ids
        trial.failures = dict.fromkeys(ids, PlanCrashed("It crashed."))
        await server.registry.remove(str(ids[0]))
        with pytest.raises(InvalidInput, match="crashed"):
            await server.add(onnx_plan())
        assert len(server.runtime.loads) == 2


async def test_what_a_trial_that_crashed_left_beside_the_plan_goes_with_it(settings: Settings) -> None:
    async def crash(plan: Path, engine: StoredEngine) -> None:
        folder = plan.with_name(f"{plan.name}.aB3xY9")  # as the openvino backend makes one
        folder.mkdir()
        (folder / "model.onnx").hardlink_to(plan)
        raise PlanCrashed("It crashed.")

    async with serving(settings, trial=crash) as server:
        with pytest.raises(InvalidInput, match="crashed"):
            await server.add(onnx_plan())
        assert server.files() == []


# -- hanging


async def test_a_load_that_hangs_is_given_up_and_holds_up_nobody(
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


async def test_what_a_load_that_was_given_up_loads_in_the_end_is_released(
    hasty: Settings, runtime: HangingRuntime
) -> None:
    async with serving(hasty, runtime) as server:
        with pytest.raises(Unavailable, match="given up"):
            await server.add(HANGS)
        with pytest.raises(Unavailable, match="has not ended yet, and holds its ID"):
            await server.add(HANGS)
        # The plan has been deleted under it: what it makes of that is its own business.
        (hasty.store / "plans" / f"{hashlib.sha256(HANGS).hexdigest()}.plan").write_bytes(HANGS)
        runtime.gate.set()
        await until(lambda: not server.registry.loads_given_up)
        assert runtime.engines() == []
        assert len(runtime.unloads) == 1
        await server.add(HANGS, "net")
        assert server.registry.ready("net")


async def test_a_stored_engine_whose_load_hangs_is_failed_and_can_be_removed(
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


async def test_after_a_hang_the_next_start_has_a_trial_first(
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


async def test_the_servers_end_waits_for_a_load_no_longer_than_the_drain(
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


async def test_so_many_loads_may_wait(settings: Settings, runtime: HangingRuntime) -> None:
    few = settings.model_copy(update={"max_waiting_loads": 1, "drain_s": 0.0})
    async with serving(few, runtime) as server:
        adding = [asyncio.create_task(server.add(HANGS + bytes([0x42, 1, n]))) for n in range(3)]
        await until(lambda: server.registry.loads_waiting == 1)
        with pytest.raises(Unavailable, match="1 loads wait already") as refused:
            await server.add(onnx_plan())
        assert refused.value.retry_after is not None
        runtime.gate.set()
        await asyncio.gather(*adding)
        await server.add(onnx_plan())


# -- shortages


SHORT = "the openvino backend got no more threads"


@pytest.fixture
async def short(settings: Settings) -> AsyncIterator[tuple[Server, Sleep, int]]:
    """A server after a start at which its engine got no threads, until it sleeps."""
    (id,) = await stored(settings, onnx_plan())
    runtime, sleep = FakeRuntime(), Sleep()
    runtime.load_error = error("Unavailable", SHORT, 5.0)
    async with serving(settings, runtime, sleep=sleep) as server:
        await until(lambda: len(sleep.slept) == 1)
        yield server, sleep, id


async def test_a_stored_engine_that_is_short_of_something_is_loaded_once_it_is_there(
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


async def test_what_is_the_plans_fault_is_not_tried_again(short: tuple[Server, Sleep, int]) -> None:
    server, sleep, id = short
    server.runtime.load_error = error("InvalidInput", "bad magic")
    await sleep.wake()
    await loaded(server)
    assert state(server, id) is State.FAILED
    readiness.check_server(server.runtime, server.registry)


@pytest.mark.parametrize("change", ["remove", "unload", "load", "upload"])
async def test_who_changes_the_engine_while_it_waits_ends_the_waiting(
    short: tuple[Server, Sleep, int], change: str
) -> None:
    server, sleep, id = short
    if change in {"load", "upload"}:
        for _ in range(2):  # as short as it was: then it is tried again as before
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


async def test_the_servers_end_does_not_wait_for_the_next_try(short: tuple[Server, Sleep, int]) -> None:
    server, _, id = short
    await server.registry.close()
    assert state(server, id) is State.FAILED


async def test_an_upload_that_is_short_of_something_is_refused_for_now(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.load_error = error("Unavailable", SHORT, 5.0)
    async with serving(settings, runtime) as server:
        with pytest.raises(Exception, match=SHORT) as refused:
            await server.add(onnx_plan())
        assert getattr(refused.value, "retry_after", None) == 5.0
        assert server.files() == []


async def test_a_thread_that_cannot_be_started_is_a_shortage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with serving(settings) as server:
        await server.add(tensorrt_plan())  # its other threads are there
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fail)
            with pytest.raises(Unavailable, match="no more threads") as refused:
                await server.add(onnx_plan())
        assert refused.value.retry_after is not None
