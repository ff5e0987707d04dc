"""Engines that are loaded by requests and evicted for others, on a fake runtime."""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime, error
from tests.submitting import submit
from tests.unit import serving as real
from tests.unit.serving import Server, loaded, until_loading
from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.engine import Resolved, State
from trtserve.engines.residency import LONGEST_STAY_S, DoesNotFit
from trtserve.errors import QueueFull, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine
from trtserve.store.staging import engine_id
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio

ROW = ("x", "FP32", [1, 4], bytes(16))


def budget(engines: float) -> str:
    return f"cpu={int(engines * MEMORY_BYTES)}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget that holds two engines."""
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=budget(2.5))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sleep:
    """Counts how often a load has looked for memory in vain."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, seconds: float) -> None:
        self.times += 1
        await asyncio.sleep(0)


def serving(settings: Settings, *args: Any, **parts: Any) -> AbstractAsyncContextManager[Server]:
    """Make a server whose time stands still, so that no engine stays because its load took long."""
    return real.serving(settings, *args, **{"clock": Clock(), **parts})


async def three(server: Server) -> list[int]:
    """Upload the engines a, b and c, of which the first does not stay resident; return their IDs."""
    return [(await server.add(onnx_plan(seed), name))[0].engine.id for seed, name in enumerate("abc")]


def state(server: Server, ref: str) -> State:
    return server.registry.resolve(ref).engine.state


async def ask(server: Server, ref: str) -> Resolved:
    """Send a request to an engine, which is answered at once when it is resident."""
    resolved = await server.registry.demand.resident(ref)
    submit(server.runtime, resolved.engine.id, [ROW])
    server.runtime.take_completions()
    return resolved


def resident(server: Server) -> int:
    return server.registry.residency.resident()["cpu"]


@asynccontextmanager
async def cold(settings: Settings, **parts: Any) -> AsyncIterator[tuple[Server, int]]:
    """A server whose engine `a` is not resident, and whose next loads wait for the gate; and its ID."""
    async with serving(settings, **parts) as server:
        first, *_ = await three(server)
        assert state(server, "a") is State.DORMANT
        server.runtime.load_gate.clear()
        yield server, first


@asynccontextmanager
async def busy(settings: Settings, **parts: Any) -> AsyncIterator[tuple[Server, int]]:
    """A server whose engine `a` is not resident, while the other two have work; and its ID."""
    async with serving(settings, **parts) as server:
        first, second, third = await three(server)
        server.runtime.hold()
        for id in (second, third):
            submit(server.runtime, id, [ROW])
        yield server, first


async def test_the_engine_that_was_unused_for_longest_makes_room_for_an_upload(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
        await server.add(onnx_plan(1), "b")
        await ask(server, "a")
        await server.add(onnx_plan(2), "c")
        assert [state(server, name) for name in "abc"] == [State.READY, State.DORMANT, State.READY]
        assert resident(server) == 2 * MEMORY_BYTES
        assert server.registry.demand.evictions == 1


async def test_a_request_loads_an_evicted_engine_with_what_it_had(settings: Settings) -> None:
    async with serving(settings) as server:
        (before, *_), _ = await server.add(onnx_plan(0), "a", instances=3)
        for seed in (1, 2):
            await server.add(onnx_plan(seed))
        asleep = server.registry.resolve("a").engine
        assert (asleep.state, asleep.info) == (State.DORMANT, before.info)
        resolved = await ask(server, "a")
        assert resolved.engine.state is State.READY
        assert server.runtime.loads[-1][3].instances == 3
        assert resolved.engine.past.cold_start_seconds is not None
        assert (server.registry.demand.loads, server.registry.demand.waits) == (1, 1)


async def test_requests_for_one_engine_share_its_load(settings: Settings) -> None:
    async with cold(settings) as (server, id):
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(20)]
        await until_loading(server, 4)
        assert server.registry.demand.waiting == 20
        server.runtime.load_gate.set()
        assert {(await one).engine.id for one in asking} == {id}
        assert len(server.runtime.loads) == 4
        assert (server.registry.demand.waiting, server.registry.demand.loads) == (0, 1)


async def test_no_more_requests_wait_than_the_queue_takes(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", max_queue_size=2)
        for seed in (1, 2):
            await server.add(onnx_plan(seed))
        server.runtime.load_gate.clear()
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(2)]
        await until(lambda: server.registry.demand.waiting == 2)
        with pytest.raises(
            QueueFull, match=r"2 requests wait for engine .* as many as its queue takes"
        ) as full:
            await server.registry.demand.resident("a")
        assert full.value.retry_after is not None
        server.runtime.load_gate.set()
        await asyncio.gather(*asking)


async def test_a_load_that_fails_ends_the_wait_of_all_and_the_engine_is_failed(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        server.runtime.load_error = error("InvalidInput", "This plan is broken.")
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(3)]
        await until_loading(server, 4)
        server.runtime.load_gate.set()
        for end in await asyncio.gather(*asking, return_exceptions=True):
            assert "could not be loaded: This plan is broken." in str(end)
        assert state(server, "a") is State.FAILED
        assert server.registry.demand.loads == 0
        with pytest.raises(Unavailable, match="could not be loaded"):
            await server.registry.demand.resident("a")


async def test_a_shortage_leaves_the_engine_to_the_next_request(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        server.runtime.load_gate.set()
        server.runtime.load_error = error("Unavailable", "There is too little memory.", 5.0)
        with pytest.raises(Error, match="too little memory"):
            await server.registry.demand.resident("a")
        assert state(server, "a") is State.DORMANT
        server.runtime.load_error = None
        assert (await ask(server, "a")).engine.state is State.READY


async def test_a_load_that_lacks_something_is_tried_once_for_all_that_wait(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        server.runtime.load_error = error("Unavailable", "There is too little memory.", 5.0)
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(5)]
        await until(lambda: server.registry.demand.waiting == 5)
        server.runtime.load_gate.set()
        for end in await asyncio.gather(*asking, return_exceptions=True):
            assert "too little memory" in str(end)
        assert len(server.runtime.loads) == 4


async def test_an_engine_with_work_is_not_evicted_and_the_next_load_waits_for_it(settings: Settings) -> None:
    async with busy(settings) as (server, first):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: server.registry.demand.waiting == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asking.done()
        assert [state(server, name) for name in "bc"] == [State.READY, State.READY]
        server.runtime.release()
        assert (await asking).engine.id == first
        assert server.registry.demand.evictions == 2


async def test_a_load_for_which_nobody_waits_any_more_gives_up_its_wait_for_memory(
    settings: Settings,
) -> None:
    sleep = Sleep()
    async with busy(settings, sleep=sleep) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: sleep.times > 0)
        asking.cancel()
        await until(lambda: server.registry.resolve("a").engine.state is State.DORMANT)
        server.runtime.release()
        assert len(server.runtime.loads) == 3


async def test_an_unload_during_the_wait_ends_it(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until_loading(server, 4)
        unloading = asyncio.create_task(server.registry.unload("a"))
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking
        server.runtime.load_gate.set()
        await unloading
        assert state(server, "a") is State.UNLOADED
        with pytest.raises(Unavailable, match="is unloaded: load it with"):
            await server.registry.demand.resident("a")


async def test_a_removal_during_the_wait_ends_it_and_nothing_is_left(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until_loading(server, 4)
        removing = asyncio.create_task(server.registry.remove("a"))
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking
        server.runtime.load_gate.set()
        await removing
        assert len(server.files()) == 2
        assert resident(server) == sum(MEMORY_BYTES for _ in server.runtime.engines())
        assert len(server.runtime.stats()) == 2


async def test_an_unload_does_not_wait_for_the_memory_of_a_load(settings: Settings) -> None:
    sleep = Sleep()
    async with busy(settings, sleep=sleep) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: sleep.times > 0)
        await server.registry.unload("a")
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking
        assert state(server, "a") is State.UNLOADED
        server.runtime.release()


async def test_an_unload_does_not_wait_for_loads_that_came_before(settings: Settings) -> None:
    async with serving(settings) as server:
        await three(server)
        await server.add(onnx_plan(3), "d")
        resident = [server.registry.resolve(name).engine for name in "abcd"]
        busy = [engine.id for engine in resident if engine.state is State.READY]
        asleep = [engine for engine in resident if engine.state is State.DORMANT]
        server.runtime.hold()
        for id in busy:
            submit(server.runtime, id, [ROW])
        asking = [asyncio.create_task(ask(server, str(engine.id))) for engine in asleep]
        await until(lambda: all(state(server, str(e.id)) is State.LOADING for e in asleep))
        await server.registry.unload(str(asleep[-1].id))
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking[-1]
        assert not asking[0].done()
        server.runtime.release()
        await asking[0]


async def test_an_eviction_keeps_the_counters_and_an_unload_does_not(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(0), "a")
        for _ in range(3):
            await ask(server, "a")
        for seed in (1, 2):
            await server.add(onnx_plan(seed))

        def successes() -> list[int]:
            return [one.outcomes["Success"] for one in server.runtime.stats() if one.id == first.id]

        assert state(server, "a") is State.DORMANT
        assert successes() == [3]
        await ask(server, "a")
        assert successes() == [4]
        await server.registry.unload("a")
        assert successes() == []


async def test_a_dormant_engine_that_is_unloaded_stays_so_and_its_counters_go(settings: Settings) -> None:
    async with serving(settings) as server:
        first, *_ = await three(server)
        await server.registry.unload("a")
        assert state(server, "a") is State.UNLOADED
        assert first not in [stats.id for stats in server.runtime.stats()]
    async with serving(settings) as again:
        await loaded(again)
        assert state(again, "a") is State.UNLOADED


async def test_a_pinned_engine_stays_and_an_upload_that_needs_its_memory_is_refused(
    tmp_path: Path,
) -> None:
    settings = Settings(store=tmp_path / "store", memory_budget=budget(1.75))
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", residency="pinned")
        with pytest.raises(
            DoesNotFit, match=r"needs 8\.0 MiB on cpu, .* has 6\.0 MiB free; pinned"
        ) as refusal:
            await server.add(onnx_plan(1), "b")
        assert "it took 8.0 MiB weights" in str(refusal.value)
        assert refusal.value.retry_after is not None
        assert state(server, "a") is State.READY
        assert [engine.id for engine in server.registry.engines()] == [server.registry.resolve("a").engine.id]
        assert resident(server) == MEMORY_BYTES
        assert len(server.files()) == 1


async def test_the_residency_of_a_ready_engine_changes_without_a_load(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store", memory_budget=budget(1.5))
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", residency="pinned")
        await server.registry.load("a", EngineOptions(residency="lazy"), renew=True)
        assert len(server.runtime.loads) == 1
        await server.add(onnx_plan(1), "b")
        assert state(server, "a") is State.DORMANT
    async with serving(settings) as again:
        await loaded(again)
        assert state(again, "a") is State.DORMANT
        assert again.registry.resolve("a").engine.stored.options.residency == "lazy"


async def test_a_start_leaves_a_lazy_engine_to_its_first_request(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", residency="lazy")
        assert state(server, "a") is State.READY
    async with serving(settings) as again:
        await loaded(again)
        assert (state(again, "a"), again.runtime.loads) == (State.DORMANT, [])
        assert (await ask(again, "a")).engine.state is State.READY


async def test_a_start_loads_pinned_engines_first_and_others_while_there_is_room(settings: Settings) -> None:
    async with serving(settings) as server:
        for seed, name in enumerate("abc"):
            await server.add(onnx_plan(seed), name, residency="pinned" if name == "c" else "eager")
    async with serving(settings) as again:
        await loaded(again)
        states = [state(again, name) for name in "abc"]
        assert states[2] is State.READY
        assert sorted(states[:2]) == [State.DORMANT, State.READY]
        assert again.registry.demand.evictions == 0


async def test_the_others_wait_until_a_pinned_engine_has_asked_for_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings) as server:
        for seed, name in enumerate("abc"):
            await server.add(onnx_plan(seed), name, residency="pinned" if name == "c" else "eager")
        pinned = server.registry.resolve("c").engine.id
    checking, may_end = threading.Event(), threading.Event()
    check = Store.check_plan

    def slow_check(store: Store, engine: StoredEngine) -> None:
        if engine.id == pinned:
            checking.set()
            assert may_end.wait(HANGS_AFTER_S)
        check(store, engine)

    monkeypatch.setattr(Store, "check_plan", slow_check)
    async with serving(settings) as again:
        await until(checking.is_set)
        for _ in range(50):  # in which the others would be loaded
            await asyncio.to_thread(int)
        assert again.runtime.loads == []
        may_end.set()
        await loaded(again)
        assert again.runtime.loads[0][0] == pinned
        assert again.registry.demand.evictions == 0


async def test_a_pinned_engine_that_cannot_be_loaded_holds_nobody_up(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
        await server.add(onnx_plan(1), "b", residency="pinned")
        digest = server.registry.resolve("b").engine.digest
    (settings.store / "plans" / f"{digest}.plan").write_bytes(b"damaged")
    async with serving(settings) as again:
        await loaded(again)
        assert [state(again, name) for name in "ab"] == [State.READY, State.FAILED]


async def test_an_engine_that_was_just_loaded_is_not_evicted(settings: Settings) -> None:
    clock, slept = Clock(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += 1.0
        await asyncio.sleep(0)

    async with serving(settings, sleep=sleep, clock=clock) as server:
        for seed, name in enumerate("ab"):
            resolved, _ = await server.add(onnx_plan(seed), name)
            memory = {"cpu": MEMORY_BYTES}
            server.registry.residency.release(resolved.engine.id)
            server.registry.residency.hold(resolved.engine.id, memory, pinned=False)
            server.registry.residency.loaded(resolved.engine.id, memory, seconds=60.0)
        await server.add(onnx_plan(2), "c")
        assert len(slept) == LONGEST_STAY_S
        assert [state(server, name) for name in "abc"] == [State.DORMANT, State.READY, State.READY]


async def test_a_load_that_waits_measures_an_idle_engine_once_after_each_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked = Clock(), Counter[tuple[str, int]]()

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await asyncio.sleep(0)

    async with serving(settings, sleep=sleep, clock=clock) as server:
        await three(server)
        staying = [server.registry.resolve(name).engine.id for name in "bc"]
        for id in staying:
            server.registry.residency.release(id)
            server.registry.residency.hold(id, {"cpu": MEMORY_BYTES}, pinned=False)
            server.registry.residency.loaded(id, {"cpu": MEMORY_BYTES}, seconds=60.0)
        clock.now += 2.0
        submit(server.runtime, staying[1], [ROW])
        for call in ("memory", "condition"):
            real = getattr(server.runtime, call)
            monkeypatch.setattr(
                server.runtime, call, lambda id, call=call, real=real: asked.update([(call, id)]) or real(id)
            )
        await ask(server, "a")
        assert clock.now >= LONGEST_STAY_S  # hundreds of looks
        assert [asked["memory", id] for id in staying] == [2, 1]  # the first also when it is evicted
        assert all(asked["condition", id] <= LONGEST_STAY_S + 5 for id in staying)


async def test_an_engine_that_takes_more_than_was_expected_evicts_others(settings: Settings) -> None:
    async with serving(settings) as server:
        first, *_ = await three(server)
        server.runtime.memory_bytes[first] = 2 * MEMORY_BYTES
        await ask(server, "a")
        assert [state(server, name) for name in "abc"] == [State.READY, State.DORMANT, State.DORMANT]
        assert resident(server) == 2 * MEMORY_BYTES


async def test_an_engine_that_takes_too_much_is_unloaded_again(settings: Settings) -> None:
    async with serving(settings) as server:
        first, *_ = await three(server)
        await ask(server, "a")
        for name in "bc":
            await ask(server, name)
        server.runtime.memory_bytes[first] = 3 * MEMORY_BYTES
        with pytest.raises(DoesNotFit, match=r"needs 24\.0 MiB on cpu, whose budget of 20\.0 MiB"):
            await server.registry.demand.resident("a")
        assert first not in [info.id for info in server.runtime.engines()]
        assert state(server, "a") is State.DORMANT
        assert resident(server) == sum(MEMORY_BYTES for _ in server.runtime.engines())
        assert {stats.id: stats.success.count for stats in server.runtime.stats()}[first] == 1


async def test_a_request_that_comes_during_an_eviction_waits_and_loads_the_engine_again(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
        await server.add(onnx_plan(1), "b")
        server.runtime.unload_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(2), "c"))
        await until(lambda: state(server, "a") is State.DRAINING)
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: server.registry.demand.waiting == 1)
        server.runtime.unload_gate.set()
        await adding
        assert (await asking).engine.state is State.READY
        assert resident(server) <= 2.5 * MEMORY_BYTES


async def test_an_explicit_load_of_a_dormant_engine_serves_those_that_come_meanwhile(
    settings: Settings,
) -> None:
    async with cold(settings) as (server, _):
        loading = asyncio.create_task(server.registry.load("a"))
        await until_loading(server, 4)
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: server.registry.demand.waiting == 1)
        server.runtime.load_gate.set()
        await loading
        assert (await asking).engine.state is State.READY
        assert len(server.runtime.loads) == 4
        assert server.registry.demand.loads == 0


async def test_a_name_is_pointed_to_a_dormant_version_without_a_load(settings: Settings) -> None:
    async with serving(settings) as server:
        for seed in range(3):
            await server.add(onnx_plan(seed), "net")
        assert server.registry.resolve("net", "1").engine.state is State.DORMANT
        await server.registry.point("net", 1)
        assert len(server.runtime.loads) == 3
        assert (await ask(server, "net")).version == 1


async def test_a_load_that_waits_for_memory_ends_when_the_server_stops(settings: Settings) -> None:
    sleep = Sleep()
    async with busy(settings, sleep=sleep) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: sleep.times > 0)
        closing = asyncio.create_task(server.registry.close())
        with pytest.raises(Unavailable, match="The server is stopping"):
            await asking
        assert len(server.runtime.engines()) == 2  # not only because there was room in the end
        server.runtime.release()
        await closing


async def test_an_engine_needs_no_memory_of_a_dead_device(tmp_path: Path) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    both = f"cuda:0={MEMORY_BYTES},cuda:1={2 * MEMORY_BYTES}"
    settings = Settings(store=tmp_path / "store", memory_budget=both)
    async with serving(settings, runtime) as server:
        await server.add(tensorrt_plan(), "a", device="cuda:0,cuda:1")
        await server.add(tensorrt_plan() + b"pinned", "b", device="cuda:0", residency="pinned")
        with pytest.raises(DoesNotFit, match="cuda:0"):
            await server.registry.demand.resident("a")
        runtime.dead["cuda:0"] = "it fell off the bus"
        resolved = await server.registry.demand.resident("a")
        assert resolved.engine.loaded.devices == ["cuda:1"]
        assert server.registry.residency.last(resolved.engine.id) == {"cuda:1": MEMORY_BYTES}
    runtime.end()


async def test_a_device_that_the_setting_leaves_out_has_what_is_free_less_a_reserve(tmp_path: Path) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    runtime.devices["cuda:1"] = (100 * MEMORY_BYTES, 200 * MEMORY_BYTES)
    settings = Settings(store=tmp_path / "store")
    async with serving(settings, runtime) as server:
        await server.add(onnx_plan(0), "a", device="cuda:1")
        assert server.registry.residency.budgets["cuda:1"] == 80 * MEMORY_BYTES
        assert "cuda:0" not in server.registry.residency.budgets
    runtime.end()


async def test_a_load_on_all_devices_reserves_memory_on_each(tmp_path: Path) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    runtime.devices = dict.fromkeys(("cuda:0", "cuda:1"), (100 * MEMORY_BYTES, 200 * MEMORY_BYTES))
    settings = Settings(store=tmp_path / "store")
    async with serving(settings, runtime) as server:
        runtime.load_gate.clear()
        plan = tensorrt_plan((11, 1, 0, 106))
        adding = asyncio.create_task(server.add(plan, "a", device="all"))
        await until_loading(server)
        held = server.registry.residency.resident()
        assert held["cuda:0"] == held["cuda:1"] > 0
        runtime.load_gate.set()
        await adding
        held = server.registry.residency.resident()
        assert held == {"cuda:0": MEMORY_BYTES, "cuda:1": MEMORY_BYTES}
    runtime.end()


async def test_a_device_that_is_full_refuses_an_engine_on_all_devices(tmp_path: Path) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    runtime.devices = dict.fromkeys(("cuda:0", "cuda:1"), (100 * MEMORY_BYTES, 200 * MEMORY_BYTES))
    settings = Settings(store=tmp_path / "store", memory_budget="cuda:1=1MiB")
    async with serving(settings, runtime) as server:
        with pytest.raises(DoesNotFit, match=r"on cuda:1, whose budget of 1\.0 MiB"):
            await server.add(tensorrt_plan((11, 1, 0, 106)), "a", device="all")
        assert runtime.loads == []
    runtime.end()


async def test_a_load_on_two_devices_has_its_turn_on_the_second_too(tmp_path: Path) -> None:
    runtime, sleep = FakeRuntime(["openvino", "tensorrt"]), Sleep()
    budgets = f"cuda:0={9 * MEMORY_BYTES},cuda:1={5 * MEMORY_BYTES // 2}"
    settings = Settings(store=tmp_path / "store", memory_budget=budgets)
    async with serving(settings, runtime, sleep=sleep) as server:
        on_both, small, first, second = [
            tensorrt_plan() + name for name in (b"on both", b"small", b"first", b"second")
        ]
        runtime.memory_bytes[engine_id(hashlib.sha256(on_both).hexdigest())] = 2 * MEMORY_BYTES
        (large, *_), _ = await server.add(on_both, "large", device="cuda:0,cuda:1")
        ids = [(await server.add(plan, device="cuda:1"))[0].engine.id for plan in (small, first, second)]
        assert [info.id for info in runtime.engines()] == ids[1:]
        runtime.leases.update(ids[1:])
        asking = asyncio.create_task(ask(server, "large"))
        await until(lambda: sleep.times > 0)
        later = asyncio.create_task(ask(server, str(ids[0])))
        await until(lambda: server.registry.demand.waiting == 2)
        runtime.leases[ids[1]] = 0  # what is free now would do for the second, but not for the first
        looks = sleep.times
        await until(lambda: sleep.times > looks + 50)
        assert len(runtime.loads) == 4
        runtime.leases[ids[2]] = 0
        await asyncio.gather(asking, later)
        assert [id for id, *_ in runtime.loads[4:]] == [large.id, ids[0]]
    runtime.end()


async def test_an_engine_whose_devices_are_not_known_is_left_to_its_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])

    def missing(backend: str, option: str) -> list[str]:
        raise error("Unavailable", "There is no such library.")

    monkeypatch.setattr(runtime, "devices_of", missing)
    runtime.load_error = error("Unavailable", "There is no library.")
    async with serving(Settings(store=tmp_path / "store"), runtime) as server:
        with pytest.raises(Error, match="There is no library"):
            await server.add(tensorrt_plan((11, 1, 0, 106)), "a", device="all")
    runtime.end()


async def test_a_load_that_finds_too_little_memory_tells_what_it_needs_and_what_is_free(
    tmp_path: Path,
) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    runtime.devices["cuda:0"] = (2 * MEMORY_BYTES, 200 * MEMORY_BYTES)
    plan = tensorrt_plan((11, 1, 0, 106))
    settings = Settings(store=tmp_path / "store", memory_budget=f"cuda:0={10 * MEMORY_BYTES}")
    async with serving(settings, runtime) as server:
        await server.add(tensorrt_plan((11, 1, 0, 107)), "b", device="cuda:0", residency="pinned")
        await server.add(plan, "a", device="cuda:0")
        await server.registry.unload("a")
        runtime.load_error = error("Unavailable", "The load needs more memory than cuda:0 has.", 5.0)
        with pytest.raises(Error) as failure:
            await server.registry.load("a")
        assert failure.value.retry_after == 5.0
        id = server.registry.resolve("a").engine.id
        assert str(failure.value) == (
            f"The load needs more memory than cuda:0 has. Engine {id} (a) needs 8.0 MiB on cuda:0, which has "
            "16.0 MiB free, and whose budget of 80.0 MiB has 72.0 MiB free; pinned engines hold 8.0 MiB of "
            "it. When it was loaded, it took 8.0 MiB weights on cuda:0, 1.0 KiB contexts on cuda:0."
        )
        runtime.load_error = error("Unavailable", "There are too few threads.", 5.0)
        with pytest.raises(Error, match=r"^There are too few threads\.$"):
            await server.registry.load("a")
        assert server.registry.residency.resident() == {"cuda:0": MEMORY_BYTES}
    runtime.end()


async def test_a_start_reserves_what_an_engine_took_before_it(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
    async with serving(settings) as again:
        again.runtime.load_gate.clear()
        restart = again.registry.resolve("a").engine
        await until_loading(again)
        assert resident(again) == MEMORY_BYTES
        assert restart.past.memory == {"cpu": {"weights": MEMORY_BYTES - 1024, "contexts": 1024}}
        again.runtime.load_gate.set()
        await loaded(again)


async def test_a_stop_keeps_what_engines_have_grown_to_and_what_a_load_for_a_request_cost(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        first, *_ = await three(server)
        await ask(server, "a")
        cold_start = server.registry.resolve("a").engine.past.cold_start_seconds
        server.runtime.memory_bytes[first] = MEMORY_BYTES * 5 // 4
    store = Store(settings.store)
    kept = {engine.id: engine.measured for engine in store.engines()}
    store.close()
    assert kept[first] is not None
    assert kept[first].total == {"cpu": MEMORY_BYTES * 5 // 4}
    assert kept[first].cold_start_seconds == cold_start is not None


async def test_a_start_whose_engines_take_what_they_took_changes_no_row(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    real = Store.record_measures

    def record(store: Store, engines: Sequence[StoredEngine]) -> None:
        kept.extend(engine.id for engine in engines)
        real(store, engines)

    monkeypatch.setattr(Store, "record_measures", record)
    async with serving(settings) as server:
        resolved, _ = await server.add(onnx_plan(0), "a")
    runtime = FakeRuntime()
    runtime.memory_bytes[resolved.engine.id] = MEMORY_BYTES + 1024
    async with serving(settings, runtime) as again:
        await loaded(again)
    assert kept == []
    runtime.end()


async def test_an_engine_that_moves_to_another_device_is_estimated_anew(tmp_path: Path) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    runtime.devices = dict.fromkeys(("cuda:0", "cuda:1"), (100 * MEMORY_BYTES, 200 * MEMORY_BYTES))
    async with serving(Settings(store=tmp_path / "store"), runtime) as server:
        await server.add(tensorrt_plan((11, 1, 0, 106)), "a", device="cuda:0")
        await server.registry.unload("a")
        runtime.load_gate.clear()
        loading = asyncio.create_task(server.registry.load("a", EngineOptions(device="cuda:1")))
        await until_loading(server, 2)
        held = server.registry.residency.resident()
        assert held["cuda:0"] == 0
        assert 0 < held["cuda:1"] < MEMORY_BYTES
        runtime.load_gate.set()
        await loading
    runtime.end()
