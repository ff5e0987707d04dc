"""Versions of a name: requesting one by number, and changing the current one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import loaded, serving, until_loading
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import NotFound, TrtserveError, Unavailable
from trtserve.settings import Settings
from trtserve.store.database import StoredName
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio


async def test_a_request_without_a_version_gets_the_current_one(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        assert server.registry.ready("net", "1") == (first, "net", 1)
        assert server.registry.ready("net", "2") == (second, "net", 2)
        assert server.registry.ready("net") is server.registry.ready("net", "2")
        with pytest.raises(NotFound, match=r"^'net' has no version '3'\. There is: 1, 2\.$"):
            server.registry.ready("net", "3")
        with pytest.raises(NotFound, match=r"^There is no engine 'nat'\. There is: net\.$"):
            server.registry.ready("nat", "1")


async def test_an_id_has_its_version_of_the_name_or_version_1(settings: Settings) -> None:
    async with serving(settings) as server:
        (nameless, *_), _ = await server.add(onnx_plan(0))
        await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        assert server.registry.ready(str(nameless.id), "1") == (nameless, None, None)
        assert server.registry.ready(str(second.id), "2") == (second, "net", 2)
        for id, wrong in ((nameless.id, "2"), (second.id, "1")):
            with pytest.raises(NotFound, match=f"^'{id}' has no version '{wrong}'"):
                server.registry.ready(str(id), wrong)


@pytest.mark.parametrize("version", ["", "0", "01", "-1", "1.0", "²", "one", "9" * 5000])
async def test_an_unknown_version_is_not_found(settings: Settings, version: str) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        with pytest.raises(NotFound, match="has no version"):
            server.registry.resolve("net", version)


async def test_names_list_all_their_versions(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        await server.add(onnx_plan(3))
        assert server.registry.names() == {"net": StoredName(2, {1: first.id, 2: second.id})}
        assert server.registry.name("net") == server.registry.names()["net"]
        with pytest.raises(NotFound, match=r"^There is no name '\d+'\. There is: net\.$"):
            server.registry.name(str(first.id))


async def test_an_upload_can_choose_its_version_number(settings: Settings) -> None:
    async with serving(settings) as server:

        async def add(seed: int, version: int) -> int | None:
            resolved, _ = await server.registry.add(
                server.stage(onnx_plan(seed)), **server.asked(onnx_plan(seed), "net"), version=version
            )
            return resolved.version

        assert [await add(1, 7), await add(2, 3), await add(3, 20)] == [7, 8, 20]
        assert await add(1, 30) == 7  # the plan is already a version of the name
        assert server.registry.name("net").current == 7


# -- the current version


async def test_a_moved_name_stays_moved_across_a_restart(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        await server.registry.point("net", 1)
        assert server.registry.ready("net") == (first, "net", 1)
        assert [known.current for engine in (first, second) for known in engine.names] == [True, False]
        await server.registry.point("net", 2)
        assert server.registry.ready("net") == (second, "net", 2)
        await server.registry.point("net", 1)
        assert len(server.runtime.loads) == 2
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").version == 1


@pytest.mark.parametrize(
    ("name", "version", "sentence"),
    [
        ("net", 2, r"^'net' has no version '2'\. There is: 1\.$"),
        ("nat", 1, r"^There is no name 'nat'\. There is: net\.$"),
    ],
)
async def test_an_unknown_version_cannot_become_current(
    settings: Settings, name: str, version: int, sentence: str
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        with pytest.raises(NotFound, match=sentence):
            await server.registry.point(name, version)
        assert server.registry.ready("net").version == 1


async def test_an_id_cannot_be_moved_as_a_name(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan())
        with pytest.raises(NotFound, match=rf"^There is no name '{engine.id}'\. No engine has one\.$"):
            await server.registry.point(str(engine.id), 1)


async def test_an_unloaded_version_is_loaded_before_it_becomes_current(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        await server.registry.unload(str(first.id))
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        server.runtime.load_gate.clear()
        pointing = asyncio.create_task(server.registry.point("net", 1))
        await until_loading(server, loads=3)
        assert server.registry.ready("net") == (second, "net", 2)
        server.runtime.load_gate.set()
        await pointing
        assert server.registry.ready("net")[1:] == ("net", 1)
        assert server.registry.ready("net").engine.id == first.id


async def test_a_version_that_cannot_be_loaded_does_not_become_current(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        await server.registry.unload(str(first.id))
        server.runtime.load_error = error("ExecutionFailed", "Out of memory.")
        with pytest.raises(TrtserveError, match=r"could not be loaded: Out of memory\."):
            await server.registry.point("net", 1)
        assert server.registry.ready("net") == (second, "net", 2)
        assert server.registry.resolve("net", "1").engine.state is State.FAILED
    store = Store(settings.store)
    assert store.names()["net"].current == 2
    store.close()


async def test_a_request_in_flight_keeps_its_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(1), "net")
        await server.add(onnx_plan(2), "net")
        begun = server.registry.ready("net")
        await server.registry.point("net", 1)
        assert begun.engine.state is State.READY  # and its answer names its version
        assert (begun.version, server.registry.ready("net").version) == (2, 1)


# -- concurrent operations


async def test_a_move_reports_a_version_that_is_removed_meanwhile(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        server.runtime.unload_gate.clear()
        removing = asyncio.create_task(server.registry.remove(str(first.id)))
        await until(lambda: server.runtime.unloading == [first.id])
        pointing = asyncio.create_task(server.registry.point("net", 1))
        server.runtime.unload_gate.set()
        await removing
        with pytest.raises(NotFound, match="has no version '1'"):
            await pointing
        assert server.registry.ready("net").engine is second


class Gated(FakeRuntime):
    """A runtime with an optional gate for each engine's unload."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[int, threading.Event] = {}

    @contextmanager
    def gated(self, *ids: int) -> Iterator[None]:
        self.gates |= {id: threading.Event() for id in ids}
        try:
            yield
        finally:
            for id in ids:
                self.gates[id].set()

    def unload(self, id: int, drain_seconds: float = 30.0) -> None:
        if id in self.gates:
            self.gates[id].wait()
        super().unload(id, drain_seconds)


async def test_a_move_follows_a_version_number_that_got_another_engine(settings: Settings) -> None:
    runtime = Gated()
    async with serving(settings, runtime) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        await server.registry.unload("net")
        with runtime.gated(first.id):
            runtime.load_gate.clear()
            loading = asyncio.create_task(server.registry.load("net"))
            await until_loading(server, loads=2)
            removing = asyncio.create_task(server.registry.remove(str(first.id)))
            await asyncio.sleep(0)
            pointing = asyncio.create_task(server.registry.point("net", 1))
            await asyncio.sleep(0)
            runtime.load_gate.set()
            await until(lambda: "net" not in server.registry.names())
            # The removal still holds the lock of the first engine, and the move waits for it.
            (second, *_), _ = await server.add(onnx_plan(2), "net")
            with runtime.gated(second.id):
                unloading = asyncio.create_task(server.registry.unload(str(second.id)))
                await until(lambda: second.state is State.DRAINING)
                runtime.gates[first.id].set()
                await removing
                await server.add(onnx_plan(3))  # the move waits for the second engine's lock during the load
                assert not pointing.done()
        await asyncio.gather(loading, pointing, unloading)
        assert server.registry.ready("net").engine.id == second.id


async def test_a_version_that_is_being_unloaded_is_loaded_again_and_becomes_current(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        await server.add(onnx_plan(2), "net")
        server.runtime.unload_gate.clear()
        unloading = asyncio.create_task(server.registry.unload(str(first.id)))
        await until(lambda: server.runtime.unloading == [first.id])
        pointing = asyncio.create_task(server.registry.point("net", 1))
        await asyncio.sleep(0)
        assert server.registry.ready("net").version == 2
        server.runtime.unload_gate.set()
        await asyncio.gather(unloading, pointing)
        assert server.registry.ready("net").engine.id == first.id


async def test_an_unload_during_a_move_keeps_the_move(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        await server.registry.unload("net")
        await server.add(onnx_plan(2), "net")
        server.runtime.load_gate.clear()
        pointing = asyncio.create_task(server.registry.point("net", 1))
        await until_loading(server, loads=3)
        unloading = asyncio.create_task(server.registry.unload(str(first.id)))
        await asyncio.sleep(0)
        server.runtime.load_gate.set()
        await asyncio.gather(pointing, unloading)
        assert server.registry.resolve("net").version == 1
        with pytest.raises(Unavailable, match="is unloaded"):
            server.registry.ready("net")


async def test_a_cancelled_caller_does_not_stop_the_move(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(1), "net")
        await server.registry.unload("net")
        await server.add(onnx_plan(2), "net")
        server.runtime.load_gate.clear()
        pointing = asyncio.create_task(server.registry.point("net", 1))
        await until_loading(server, loads=3)
        pointing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pointing
        server.runtime.load_gate.set()
        await until(lambda: server.registry.resolve("net").version == 1)


async def test_concurrent_changes_stay_consistent(settings: Settings) -> None:
    async with serving(settings, FakeRuntime()) as server:

        async def churn(side: int) -> None:
            for turn in range(6):
                steps = [
                    server.add(onnx_plan((side + turn) % 3), "net"),
                    server.registry.unload("net"),
                    server.registry.point("net", turn + 1),
                    server.registry.load("net"),
                    server.registry.remove("net"),
                ]
                for step in steps[side % 3 :] + steps[: side % 3]:
                    with suppress(NotFound, Error):  # another task was faster
                        await step

        await asyncio.gather(*map(churn, range(6)))
        engines = server.registry.engines()
        assert {e.id for e in engines if e.state is State.READY} == {e.id for e in server.runtime.engines()}
        assert {e.state for e in engines} <= {State.READY, State.UNLOADED}
        assert {e.id for e in engines} == {e.id for e in server.store.engines()}
        assert {e.id for e in engines if e.state is State.UNLOADED} == server.store.unloaded()
        assert server.registry.names() == server.store.names()
        assert len(server.files()) == len(engines)
