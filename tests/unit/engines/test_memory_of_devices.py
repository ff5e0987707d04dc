"""What engines take of the devices' budgets, and which of them go, on a fake runtime."""

import asyncio
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime, error
from tests.submitting import submit
from tests.unit.engines.on_demand import ROW, Clock, Sleep, ask, budget, resident, serving, state, three
from tests.unit.serving import until_loading
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.engines.residency import LONGEST_STAY_S, DoesNotFit
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.store.staging import engine_id

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget that holds two engines."""
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=budget(2.5))


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
