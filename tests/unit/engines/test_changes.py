"""Changes of an engine's options while it serves.

Above 400 lines, because all of them need what is at the top: an engine, and the state of its change.
"""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime_ext import BESIDE, Error
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime
from tests.fakes.values import Condition, error
from tests.submitting import submit
from tests.unit.engines.on_demand import Sleep, budget
from tests.unit.engines.on_demand import serving as small
from tests.unit.serving import Server, loaded, serving, until_loading
from tests.unit.stores import killed
from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.errors import Conflict, InvalidInput, NotFound, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio

ROW = ("x", "FP32", [1, 4], bytes(16))
THREE = EngineOptions(instances=3)


def engine(server: Server, ref: str = "net") -> Engine:
    return server.registry.resolve(ref).engine


def instances(server: Server, ref: str = "net") -> int:
    return engine(server, ref).stored.options.instances


def change_of(server: Server, ref: str = "net") -> tuple[str, str | None]:
    change = engine(server, ref).past.change
    return (change.state, change.reason) if change is not None else ("", None)


async def net(server: Server, **options: Any) -> int:
    """Upload the engine `net` and return its ID."""
    return (await server.add(onnx_plan(), "net", **{"instances": 2, **options}))[0].engine.id


async def change(server: Server, **options: Any) -> tuple[Resolved, bool]:
    return await server.registry.change("net", EngineOptions(**options))


async def draining(server: Server) -> tuple[int, asyncio.Task[tuple[Resolved, bool]]]:
    """Change the options of `net` while it has work that does not end; return its ticket, and the change."""
    server.runtime.hold()
    ticket = submit(server.runtime, engine(server).id, [ROW])
    changing = asyncio.create_task(change(server, instances=3))
    await until(lambda: change_of(server)[0] == "DRAINING")
    return ticket, changing


def former_life_stays(runtime: FakeRuntime) -> threading.Event:
    """Let the unload of a former life wait for the event."""
    gate, unload = threading.Event(), runtime.unload

    def unload_later(place: int, *args: Any) -> None:
        assert not place & BESIDE or gate.wait(HANGS_AFTER_S)
        unload(place, *args)

    runtime.unload = unload_later  # type: ignore[method-assign]
    return gate


def stored_instances(root: Path) -> int:
    """What a start would find, if the server were killed now."""
    store = Store(killed(root, root.with_name("killed")))
    try:
        (found,) = store.engines()
        return found.options.instances
    finally:
        store.close()


async def test_the_next_life_is_loaded_while_the_former_one_serves(settings: Settings) -> None:
    async with serving(settings) as server:
        id, runtime = await net(server), server.runtime
        before = engine(server)
        runtime.load_gate.clear()
        changing = asyncio.create_task(change(server, instances=3))
        await until_loading(server, 2)
        assert (server.registry.ready("net").engine, change_of(server)) == (before, ("LOADING", None))
        ticket = submit(runtime, id, [ROW])
        assert runtime.takers[ticket].instances == 2
        runtime.load_gate.set()
        resolved, done = await changing
        assert (done, resolved.engine.state, resolved.engine.loaded.instances) == (True, State.READY, 3)
        assert runtime.takers[submit(runtime, id, [ROW])].instances == 3
        assert [load[0] for load in runtime.loads] == [id, id | BESIDE]
        assert [place for place, _ in runtime.unloads] == [id | BESIDE]
        assert change_of(server) == ("DONE", None)
        assert [completion.kind for completion in runtime.take_completions()] == [None, None]


async def test_the_former_life_ends_what_it_has_accepted_before_it_is_unloaded(settings: Settings) -> None:
    async with serving(settings, sleep=Sleep()) as server:
        id, runtime = await net(server), server.runtime
        old, changing = await draining(server)
        new = submit(runtime, id, [ROW])
        assert (runtime.takers[old].instances, runtime.takers[new].instances) == (2, 3)
        assert (runtime.unloading, instances(server), changing.done()) == ([], 3, False)
        runtime.release()
        await changing
        assert {end.ticket: end.kind for end in runtime.take_completions()} == {old: None, new: None}


async def test_a_former_life_whose_execution_is_stuck_is_left_behind(settings: Settings) -> None:
    async with serving(settings) as server:
        id, runtime = await net(server), server.runtime
        runtime.hold()
        submit(runtime, id, [ROW])
        runtime.conditions[id | BESIDE] = Condition(2, executions_stuck=1, requests=1)
        await change(server, instances=3)
        (end,) = runtime.take_completions()
        assert (end.kind, engine(server).state) == ("Unavailable", State.READY)


async def test_options_are_kept_once_the_next_life_is_ready_and_not_before(settings: Settings) -> None:
    async with serving(settings, sleep=Sleep()) as server:
        id, runtime = await net(server), server.runtime
        runtime.load_gate.clear()
        runtime.hold()
        submit(runtime, id, [ROW])
        changing = asyncio.create_task(change(server, instances=3))
        await until_loading(server, 2)
        assert stored_instances(settings.store) == 2
        runtime.load_gate.set()
        await until(lambda: change_of(server)[0] == "DRAINING")
        assert stored_instances(settings.store) == 3
        runtime.release()
        await changing
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.loaded.instances == 3


async def test_a_server_that_dies_while_the_next_life_loads_starts_with_the_former_options(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await net(server)
        server.runtime.load_gate.clear()
        changing = asyncio.create_task(change(server, instances=3))
        await until_loading(server, 2)
        dead = killed(settings.store, settings.store.with_name("dead"))
        server.runtime.load_gate.set()
        await changing
    async with serving(settings.model_copy(update={"store": dead})) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.loaded.instances == 2


@pytest.mark.parametrize("fails", ["load", "store"])
async def test_an_engine_that_cannot_be_changed_serves_on(
    settings: Settings, fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(settings) as server:
        id, runtime = await net(server), server.runtime
        before = engine(server)

        def refuse(*_: Any, **__: Any) -> None:
            raise Unavailable("The disk is gone.")

        if fails == "load":
            runtime.load_error = error("InvalidInput", "the plan has no such tensor")  # as C++ says it
        else:
            monkeypatch.setattr(server.store, "commit", refuse)
        with pytest.raises(
            (Error, Unavailable), match=r"\w\. Engine \d+ \(net\) serves on with its former options"
        ):
            await change(server, instances=3)
        state, reason = change_of(server)
        assert (state, "serves on" in (reason or "")) == ("FAILED", True)
        assert [(r.levelname, r.getMessage()) for r in caplog.records if "serves on" in r.getMessage()] == [
            ("WARNING", f"engine {before}: {reason}")
        ]
        assert server.registry.ready("net").engine is before
        assert runtime.takers[submit(runtime, id, [ROW])].instances == 2
        assert [info.instances for info in runtime.engines()] == [2]
        assert server.registry.residency.resident()["cpu"] == sum(runtime.memory(id)["cpu"].values())
        monkeypatch.undo()
        runtime.load_error = None
        assert stored_instances(settings.store) == 2
        assert (await change(server, instances=3))[0].engine.loaded.instances == 3


async def test_what_does_not_fit_beside_the_one_that_serves_is_refused_at_once(settings: Settings) -> None:
    settings = settings.model_copy(update={"memory_budget": budget(1.5)})
    sleep = Sleep()
    async with small(settings, sleep=sleep) as server:
        await net(server)
        with pytest.raises(
            Unavailable, match=r"needs .* serves on .* or change it in place \(in_place=true\)"
        ):
            await change(server, instances=3)
        assert (sleep.times, instances(server), len(server.runtime.loads)) == (0, 2, 1)
        resolved, _ = await server.registry.change("net", THREE, in_place=True)
        assert (resolved.engine.state, resolved.engine.loaded.instances) == (State.READY, 3)


async def test_a_change_holds_the_memory_of_both_lives_and_then_of_one(settings: Settings) -> None:
    async with serving(settings, sleep=Sleep()) as server:
        runtime = server.runtime
        await net(server)
        held = server.registry.residency.resident()["cpu"]
        _, changing = await draining(server)
        assert server.registry.residency.resident()["cpu"] == 2 * held
        runtime.release()
        await changing
        assert server.registry.residency.resident()["cpu"] == held


@pytest.mark.parametrize("state", [State.DORMANT, State.UNLOADED])
async def test_an_engine_that_is_not_resident_has_the_options_from_its_next_load_on(
    settings: Settings, state: State
) -> None:
    async with serving(settings) as server:
        id = await net(server, residency="lazy")
        if state is State.UNLOADED:
            await server.registry.unload("net")
    async with serving(settings) as server:
        assert engine(server).state is state
        await change(server, instances=3)
        assert (engine(server).state, instances(server), server.runtime.loads) == (state, 3, [])
        assert change_of(server) == ("DONE", None)
    async with serving(settings) as server:
        assert (engine(server).state, instances(server)) == (state, 3)
        if state is State.DORMANT:
            await server.registry.demand.resident("net")
        else:
            await server.registry.load("net")
        assert server.runtime.engine(id).instances == 3


async def test_an_engine_holds_what_its_new_options_take(settings: Settings) -> None:
    async with serving(settings) as server:
        id, residency = await net(server), server.registry.residency
        before = residency.resident()["cpu"]
        server.runtime.memory_bytes[id | BESIDE] = before // 2
        await change(server, instances=1)
        assert residency.resident()["cpu"] == before // 2
        assert residency.last(id) == {"cpu": before // 2}


async def test_an_engine_on_several_devices_is_changed_on_all_of_them(settings: Settings) -> None:
    runtime = FakeRuntime(["openvino", "tensorrt"])
    gpus = ["cuda:0", "cuda:1"]
    runtime.devices = dict.fromkeys(gpus, (64 * MEMORY_BYTES, 64 * MEMORY_BYTES))
    async with serving(settings, runtime) as server:
        await server.add(tensorrt_plan(), "net", device="all")
        for device, on in (("cuda:1", ["cuda:1"]), ("cuda:1,cuda:0", ["cuda:1", "cuda:0"])):
            resolved, _ = await change(server, device=device)
            assert resolved.engine.loaded.devices == on
            held = server.registry.residency.resident()
            assert {gpu: held[gpu] for gpu in gpus} == {gpu: MEMORY_BYTES * (gpu in on) for gpu in gpus}


async def test_a_failed_engine_is_loaded_with_the_options(settings: Settings) -> None:
    async with serving(settings) as server:
        await net(server)
    runtime = FakeRuntime()
    runtime.refuses = lambda options: options.instances == 2
    async with serving(settings, runtime) as server:
        await loaded(server)
        assert engine(server).state is State.FAILED
        await change(server, instances=3)
        assert server.registry.ready("net").engine.loaded.instances == 3


async def test_options_that_do_not_go_together_change_nothing(settings: Settings) -> None:
    async with serving(settings) as server:
        await net(server, max_batch_size=4)
        with pytest.raises(InvalidInput, match="size 8 is over max_batch_size, 4"):
            await change(server, preferred_batch_sizes="8")
        assert len(server.runtime.loads) == 1


async def test_options_that_an_engine_has_load_nothing(settings: Settings) -> None:
    async with serving(settings) as server:
        await net(server)
        assert (await change(server, instances=2, residency="pinned"))[1]
        assert (len(server.runtime.loads), engine(server).stored.options.residency) == (1, "pinned")
        assert change_of(server) == ("DONE", None)


async def test_labels_change_without_a_load(settings: Settings) -> None:
    async with serving(settings) as server:
        await net(server, labels='{"y":["a"]}')
        there = engine(server)
        await change(server, labels='{"y": ["cat", "dog"]}')
        assert (engine(server), there.labels) == (there, {"y": ["cat", "dog"]})
        await change(server, labels="")
        assert (there.labels, len(server.runtime.loads), server.runtime.unloads) == ({}, 1, [])
        await change(server, labels='{"y":["b"]}', instances=3)
        assert (len(server.runtime.loads), engine(server).labels, instances(server)) == (2, {"y": ["b"]}, 3)
        await change(server, labels='{"y":["c"]}')
    async with serving(settings) as server:
        await loaded(server)
        assert engine(server).labels == {"y": ["c"]}


async def test_as_many_changes_wait_as_may(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(settings) as server:
        await net(server)
        monkeypatch.setattr("trtserve.engines.operations.MOST_ASKED", 2)
        server.runtime.load_gate.clear()
        first, second = (
            asyncio.create_task(change(server, instances=3)),
            asyncio.create_task(change(server, instances=4)),
        )
        await until_loading(server, 2)
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"^2 changes of engines are under way or wait") as refused:
                await server.registry.change("net", EngineOptions(instances=5), wait_s=0.0)
            assert refused.value.retry_after == 10.0
        assert change_of(server)[0] == "LOADING"  # the first, and not one that was refused
        server.runtime.load_gate.set()
        await asyncio.gather(first, second)
        await change(server, instances=5)
        assert instances(server) == 5


async def test_changes_of_an_engine_come_one_after_the_other(settings: Settings) -> None:
    async with serving(settings) as server:
        id = await net(server)
        server.runtime.load_gate.clear()
        first = asyncio.create_task(change(server, instances=3, max_queue_size=9))
        await until_loading(server, 2)
        second = asyncio.create_task(change(server, instances=4))
        await until(lambda: change_of(server)[0] == "WAITING")
        server.runtime.load_gate.set()
        await asyncio.gather(first, second)
        found = engine(server).stored.options
        assert (found.instances, found.max_queue_size, len(server.runtime.loads)) == (4, 9, 3)
        assert server.runtime.engine(id).instances == 4


@pytest.mark.parametrize("ending", ["remove", "unload"])
async def test_an_engine_that_is_being_changed_ends_after_the_change(settings: Settings, ending: str) -> None:
    async with serving(settings) as server:
        id = await net(server)
        server.runtime.load_gate.clear()
        changing = asyncio.create_task(change(server, instances=3))
        await until_loading(server, 2)
        end = asyncio.create_task(getattr(server.registry, ending)("net"))
        for _ in range(9):
            await asyncio.sleep(0)  # it waits for the change
        late = asyncio.create_task(change(server, instances=4))
        await asyncio.sleep(0)
        server.runtime.load_gate.set()
        assert (await changing)[0].engine.loaded.instances == 3
        await end
        if ending == "remove":
            with pytest.raises(NotFound):
                await late
            assert server.files() == []
        else:
            await late
            assert (engine(server).state, instances(server)) == (State.UNLOADED, 4)
        assert sorted(place for place, _ in server.runtime.unloads) == [id, id | BESIDE]
        assert server.runtime.engines() == []


@pytest.mark.parametrize("ending", ["remove", "unload"])
async def test_who_ends_an_engine_waits_for_its_former_life_and_its_last_at_the_same_time(
    settings: Settings, ending: str
) -> None:
    async with serving(settings, sleep=Sleep()) as server:
        id, runtime = await net(server), server.runtime
        old, changing = await draining(server)
        waiting = asyncio.create_task(change(server, instances=4))
        await until(lambda: change_of(server)[0] == "WAITING")
        gate = former_life_stays(runtime)
        ends = asyncio.create_task(getattr(server.registry, ending)("net"))
        await until(lambda: runtime.unloads == [(id, settings.drain_s)])
        for _ in range(999):
            await asyncio.sleep(0)  # it waits for the former life
        assert not ends.done()
        gate.set()
        await ends
        assert runtime.unloads == [(id, settings.drain_s), (id | BESIDE, settings.drain_s)]
        (end,) = runtime.take_completions()
        assert (end.ticket, end.kind) == (old, "Unavailable")
        await asyncio.wait((changing, waiting))
        assert isinstance(waiting.exception(), Conflict)
        assert "gets no other options: it is about to be removed or unloaded" in str(waiting.exception())
        assert runtime.engines() == []


async def test_a_change_waits_for_a_former_life_that_ends_for_a_removal_that_failed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings, sleep=Sleep()) as server:
        await net(server)
        _, changing = await draining(server)
        gate = former_life_stays(server.runtime)

        def fail(*args: object) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(server.store, "forget_version", fail)
        with pytest.raises(Unavailable, match="the disk is full"):
            await server.registry.remove("net")
        await changing
        following = asyncio.create_task(change(server, instances=4))
        await until(lambda: change_of(server)[0] == "LOADING")
        for _ in range(999):
            await asyncio.sleep(0)
        assert len(server.runtime.loads) == 2
        gate.set()
        await following
        assert (len(server.runtime.loads), instances(server)) == (3, 4)


async def test_an_upload_of_the_same_plan_with_other_options_changes_them(settings: Settings) -> None:
    async with serving(settings) as server:
        id = await net(server)
        resolved, created = await server.add(onnx_plan(), "other", instances=3)
        assert (created, resolved.engine.loaded.instances, resolved.name) == (False, 3, "other")
        assert server.runtime.loads[-1][0] == id | BESIDE
        assert engine(server, "net") is engine(server, "other")


async def test_a_change_is_answered_before_it_is_done_if_that_is_asked_for(settings: Settings) -> None:
    async with serving(settings) as server:
        await net(server)
        server.runtime.load_gate.clear()
        resolved, done = await server.registry.change("net", THREE, wait_s=0.0)
        assert (done, resolved.engine.loaded.instances) == (False, 2)
        server.runtime.load_gate.set()
        await until(lambda: change_of(server)[0] == "DONE")
        assert instances(server) == 3


async def test_what_was_counted_goes_on(settings: Settings) -> None:
    async with serving(settings) as server:
        id, runtime = await net(server), server.runtime
        submit(runtime, id, [ROW])
        await change(server, instances=3)
        submit(runtime, id, [ROW])
        (stats,) = runtime.stats()
        assert (stats.success.count, stats.instances) == (2, 3)


async def test_a_stop_during_a_change_leaves_the_former_options(settings: Settings) -> None:
    settings = settings.model_copy(update={"drain_s": 0.0})
    async with serving(settings) as server:
        await net(server)
        server.runtime.load_gate.clear()
        changing = asyncio.create_task(change(server, instances=3))
        await until_loading(server, 2)
        closing = asyncio.create_task(server.registry.close())
        with pytest.raises(Unavailable):
            await changing
        server.runtime.load_gate.set()
        await closing
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.loaded.instances == 2
