"""Loads that wait for memory hold nothing that others wait for, so each of them ends."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.fakes.plans import module_plan, onnx_plan
from tests.fakes.runtime import MEMORY_BYTES
from tests.submitting import submit
from tests.unit.engines.modules import Runtime, Trial
from tests.unit.engines.on_demand import ROW, ask, budget, resident, serving, state
from tests.unit.serving import Server, until_loading
from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.engine import State
from trtserve.engines.residency import DoesNotFit
from trtserve.errors import Unavailable
from trtserve.settings import Settings
from trtserve.store.staging import engine_id

pytestmark = pytest.mark.anyio

SMALL = MEMORY_BYTES // 4


def settings(tmp_path: Path, engines: float) -> Settings:
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=budget(engines))


@pytest.fixture
def runtime() -> Runtime:
    """One whose modules are small."""
    runtime = Runtime()
    for calls in (("a",), ("b",), ("a", "b")):
        digest = hashlib.sha256(module_plan(*calls)).hexdigest()
        runtime.memory_bytes[engine_id(digest)] = SMALL
    return runtime


async def add(server: Server, **plans: bytes) -> None:
    for name, plan in plans.items():
        await server.add(plan, name)


async def asking(server: Server, *refs: str) -> list[asyncio.Task[object]]:
    """Ask each engine, one after the other; they wait for their loads."""
    tasks = []
    for waiting, ref in enumerate(refs, server.registry.demand.waiting + 1):
        tasks.append(asyncio.create_task(ask(server, ref)))
        await until(lambda waiting=waiting: server.registry.demand.waiting >= waiting)
    return tasks


class Looks:
    """How often loads have looked for memory in vain."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, seconds: float) -> None:
        self.times += 1
        await asyncio.sleep(seconds)

    async def some_more(self) -> None:
        before = self.times
        await until(lambda: self.times >= before + 3)


async def all_are_answered(tasks: list[asyncio.Task[object]]) -> None:
    await asyncio.wait_for(asyncio.gather(*tasks), HANGS_AFTER_S)


async def test_engines_that_take_more_than_expected_at_the_same_time_are_all_served(tmp_path: Path) -> None:
    """Each would wait for what the other holds."""
    async with serving(settings(tmp_path, 2.5)) as server:
        await add(server, a=onnx_plan(0), b=onnx_plan(1), c=onnx_plan(2), d=onnx_plan(3))
        assert [state(server, name) for name in "ab"] == [State.DORMANT, State.DORMANT]
        for name in "ab":
            id = server.registry.resolve(name).engine.id
            server.runtime.memory_bytes[id] = MEMORY_BYTES * 7 // 4
        server.runtime.load_gate.clear()
        tasks = await asking(server, "a", "b")
        await until_loading(server, 6)
        server.runtime.load_gate.set()
        await all_are_answered(tasks)
        assert sorted([state(server, "a"), state(server, "b")]) == [State.DORMANT, State.READY]
        assert resident(server) == MEMORY_BYTES * 7 // 4


async def test_an_engine_that_takes_more_than_there_is_room_for_holds_nothing_while_it_waits(
    tmp_path: Path,
) -> None:
    async with serving(settings(tmp_path, 2.5)) as server:
        await add(server, a=onnx_plan(0), b=onnx_plan(1), c=onnx_plan(2))
        a, b = (server.registry.resolve(name).engine.id for name in "ab")
        server.runtime.memory_bytes[a] = 2 * MEMORY_BYTES
        server.runtime.hold()
        submit(server.runtime, b, [ROW])
        (task,) = await asking(server, "a")
        await until(lambda: server.runtime.unloading.count(a) == 2)  # the first time was its eviction
        await until(lambda: resident(server) == MEMORY_BYTES)
        assert not task.done()
        server.runtime.release()
        await all_are_answered([task])
        assert resident(server) == 2 * MEMORY_BYTES
        assert len([load for load in server.runtime.loads if load[0] == a]) == 3


async def test_an_idle_module_does_not_keep_the_memory_of_the_engine_that_it_calls(
    tmp_path: Path, runtime: Runtime
) -> None:
    async with serving(settings(tmp_path, 1.75), runtime, Trial()) as server:
        await add(server, a=onnx_plan(0), m=module_plan("a"), x=onnx_plan(1))
        assert {name: state(server, name) for name in "amx"} == {"a": "DORMANT", "m": "DORMANT", "x": "READY"}
        await ask(server, "m")
        assert {name: state(server, name) for name in "amx"} == {"a": "READY", "m": "READY", "x": "DORMANT"}


async def test_an_engine_goes_before_one_that_a_module_calls(tmp_path: Path, runtime: Runtime) -> None:
    """Although it was used later than that."""
    async with serving(settings(tmp_path, 2.7), runtime, Trial()) as server:
        await add(server, a=onnx_plan(0), m=module_plan("a"), x=onnx_plan(1))
        await ask(server, "m")
        await add(server, y=onnx_plan(2))
        assert {name: state(server, name) for name in "amxy"} == {
            **{"a": "READY", "m": "READY"},
            **{"x": "DORMANT", "y": "READY"},
        }


async def test_a_module_does_not_take_the_memory_of_the_engine_that_it_calls(
    tmp_path: Path, runtime: Runtime
) -> None:
    """Even where nothing else can go yet."""
    looks = Looks()
    async with serving(settings(tmp_path, 2.1), runtime, Trial(), looks) as server:
        await add(server, a=onnx_plan(0), x=onnx_plan(1))
        x = server.registry.resolve("x").engine.id
        runtime.hold()
        submit(runtime, x, [ROW])
        adding = asyncio.create_task(server.add(module_plan("a"), "m"))
        await looks.some_more()
        assert (adding.done(), runtime.unloading) == (False, [])
        runtime.release()
        await asyncio.wait_for(adding, HANGS_AFTER_S)
        assert runtime.unloading == [x]


async def test_a_module_with_work_keeps_the_engine_that_it_calls(tmp_path: Path, runtime: Runtime) -> None:
    looks = Looks()
    async with serving(settings(tmp_path, 1.75), runtime, Trial(), looks) as server:
        await add(server, a=onnx_plan(0), m=module_plan("a"))
        runtime.hold()
        submit(runtime, server.registry.resolve("m").engine.id, [ROW])
        adding = asyncio.create_task(server.add(onnx_plan(1), "x"))
        await looks.some_more()
        assert not adding.done()
        assert [state(server, name) for name in "am"] == [State.READY, State.READY]
        runtime.release()
        await asyncio.wait_for(adding, HANGS_AFTER_S)
        assert [state(server, name) for name in "am"] == [State.DORMANT, State.DORMANT]


async def test_a_module_that_waits_for_memory_leaves_its_engines_to_those_before_it(
    tmp_path: Path, runtime: Runtime
) -> None:
    """The engine has its turn first, and only what the module calls can go."""
    looks = Looks()
    async with serving(settings(tmp_path, 1.75), runtime, Trial(), looks) as server:
        await add(server, a=onnx_plan(0), m=module_plan("a"), x=onnx_plan(1))
        await ask(server, "a")
        runtime.hold()
        submit(runtime, server.registry.resolve("a").engine.id, [ROW])
        tasks = await asking(server, "x")
        await looks.some_more()
        tasks += await asking(server, "m")
        await looks.some_more()
        assert [task for task in tasks if task.done()] == []
        runtime.release()
        await all_are_answered(tasks)
        assert resident(server) <= 1.75 * MEMORY_BYTES


async def test_modules_that_cannot_be_resident_together_are_served_one_after_the_other(
    tmp_path: Path, runtime: Runtime
) -> None:
    async with serving(settings(tmp_path, 1.75), runtime, Trial()) as server:
        await add(server, a=onnx_plan(0), m=module_plan("a"), b=onnx_plan(1), n=module_plan("b"))
        await all_are_answered(await asking(server, "m"))
        await all_are_answered([*await asking(server, "n"), *await asking(server, "m")])


async def test_a_module_whose_engines_do_not_fit_beside_each_other_is_refused_with_what_it_needs(
    tmp_path: Path, runtime: Runtime
) -> None:
    async with serving(settings(tmp_path, 1.75), runtime, Trial()) as server:
        await add(server, a=onnx_plan(0), b=onnx_plan(1))
        with pytest.raises(
            DoesNotFit,
            match=r"\d+, with the engines that it calls, needs 20.0 MiB on cpu, whose budget of 14.0 MiB",
        ):
            await server.add(module_plan("a", "b"), "m")
        await server.registry.unload("b")  # nothing is left that calls it


async def test_a_module_that_always_loses_its_engine_while_it_waits_is_refused_in_the_end(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings(tmp_path, 2.5), runtime, Trial()) as server:
        await add(server, a=onnx_plan(0))
        monkeypatch.setattr(server.registry.dependencies, "keep", lambda module: False)
        with pytest.raises(Unavailable, match="the engines that it calls were evicted for others") as refusal:
            await server.add(module_plan("a"), "m")
        assert refusal.value.retry_after is not None
        assert resident(server) == MEMORY_BYTES
