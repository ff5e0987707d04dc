"""The life of engines, on a runtime that loads every plan."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from runtime_ext import AUTO_DELAY, Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import loaded, serving, until_loading
from tests.waiting import until
from trtserve.engines.engine import EngineName, State
from trtserve.engines.loading import DRAINS_AT_ONCE
from trtserve.errors import Conflict, NotFound, Unavailable
from trtserve.formats.format import Format
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio


async def test_an_added_engine_is_ready_under_its_id_and_its_name(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, name, version), created = await server.add(onnx_plan(), "net")
        assert (created, name, version, engine.state) == (True, "net", 1, State.READY)
        assert server.registry.ready("net") == (engine, "net", 1)
        assert server.registry.ready(str(engine.id)) == (engine, "net", 1)
        assert server.registry.engines() == [engine]
        assert [(id, backend) for id, _, backend, _ in server.runtime.loads] == [(engine.id, "openvino")]


async def test_an_unnamed_engine_has_only_its_id(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, name, version), _ = await server.add(onnx_plan())
        assert (name, version, engine.names) == (None, None, ())
        assert server.registry.resolve(str(engine.id)) == (engine, None, None)


async def test_options_missing_from_an_upload_come_from_the_settings(settings: Settings) -> None:
    update = {"instances": 3, "device": "cpu", "precision": "bf16", "cuda_graphs": "on"}
    update |= {"max_batch_size": 8, "max_queue_delay_us": "auto", "latency_target_us": 700}
    own = settings.model_copy(update=update)
    async with serving(own) as server:
        await server.add(onnx_plan(), "net", max_queue_size=5, instances=2, max_batch_size=4)
        options = server.runtime.loads[0][3]
        assert (options.name, options.device, options.instances) == ("net", "cpu", 2)
        assert (options.max_queue_size, options.precision) == (5, "bf16")
        assert options.cuda_graphs == "on"
        batch = options.batch
        assert (batch.max_batch_size, batch.latency_target_us) == (4, 700)
        assert batch.max_queue_delay_us == AUTO_DELAY


async def test_the_same_plan_again_is_the_same_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(), "net")
        (again, name, version), created = await server.add(onnx_plan(), "net")
        assert again is first
        assert (created, name, version) == (False, "net", 1)
        assert len(server.runtime.loads) == 1
        assert len(server.files()) == 1


async def test_a_plan_uploaded_under_a_second_name_has_both(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "a")
        (_, name, version), created = await server.add(onnx_plan(), "b")
        assert (created, name, version) == (False, "b", 1)
        assert engine.names == (EngineName("a", 1, True), EngineName("b", 1, True))


async def test_the_same_plan_with_what_its_options_stand_for_is_the_same_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=2)
        await server.add(onnx_plan(), "net", instances=2, device="cpu")  # the value that auto resolved to
        assert (len(server.runtime.loads), len(server.files())) == (1, 1)


async def test_another_plan_with_the_same_id_is_refused(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan())
        staged = server.stage(b"other")
        twin = replace(staged, digest=engine.digest[:13] + "0" * 51)
        with pytest.raises(Conflict, match="first 52 bits"):
            await server.registry.add(
                twin,
                name=None,
                format=Format.ONNX,
                options=EngineOptions(),
            )
        assert len(server.files()) == 1


async def test_a_new_plan_becomes_current_once_it_is_ready(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(2), "net"))
        await until_loading(server, loads=2)
        assert server.registry.ready("net") == (first, "net", 1)
        server.runtime.load_gate.set()
        (second, *_), _ = await adding
        assert server.registry.ready("net") == (second, "net", 2)
        assert first.names == (EngineName("net", 1, False),)
        assert server.registry.ready(str(first.id)) == (first, "net", 1)


async def test_a_loading_engine_is_unavailable(settings: Settings) -> None:
    async with serving(settings) as server:
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan()))
        await until_loading(server)
        (engine,) = server.registry.engines()
        with pytest.raises(Unavailable, match="still loading"):
            server.registry.ready(str(engine.id))
        assert server.registry.loading == 0  # an upload does not make the server unready
        server.runtime.load_gate.set()
        await adding


async def test_a_failed_load_leaves_nothing(settings: Settings) -> None:
    async with serving(settings) as server:
        server.runtime.load_error = error("InvalidInput", "The model has no inputs.")
        with pytest.raises(Error, match="no inputs"):
            await server.add(onnx_plan(), "net")
        assert server.registry.engines() == []
        assert server.files() == []
        with pytest.raises(NotFound, match="this server has none"):
            server.registry.resolve("net")
        server.runtime.load_error = None
        _, created = await server.add(onnx_plan(), "net")
        assert created


async def test_concurrent_uploads_of_one_plan_load_it_once(settings: Settings) -> None:
    async with serving(settings) as server:
        results = await asyncio.gather(*(server.add(onnx_plan(), "net") for _ in range(5)))
        assert sorted(created for _, created in results) == [False] * 4 + [True]
        assert len({resolved.engine.id for resolved, _ in results}) == 1
        assert len(server.runtime.loads) == 1


async def test_a_cancelled_caller_does_not_stop_the_load(settings: Settings) -> None:
    async with serving(settings) as server:
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(), "net"))
        await until_loading(server)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        server.runtime.load_gate.set()
        _, created = await server.add(onnx_plan(), "net")
        assert not created
        assert server.registry.ready("net").engine.state is State.READY


async def test_removing_a_name_falls_back_to_the_previous_version(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        await server.registry.remove("net")
        assert server.registry.ready("net") == (first, "net", 1)
        assert server.runtime.unloads == [(second.id, settings.drain_s)]
        assert len(server.files()) == 1


async def test_the_previous_version_serves_a_name_while_its_engine_drains(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        server.runtime.unload_gate.clear()
        removing = asyncio.create_task(server.registry.remove("net"))
        await until(lambda: second.state is not State.READY)
        assert server.registry.ready("net").engine is first
        with pytest.raises(Unavailable, match="is being removed"):
            server.registry.ready(str(second.id))
        server.runtime.unload_gate.set()
        await removing
        assert server.registry.engines() == [first]


async def test_an_engine_that_another_name_points_to_stays(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "a")
        await server.add(onnx_plan(), "b")
        await server.registry.remove("a")
        assert server.registry.ready("b").engine is engine
        assert server.runtime.unloads == []
        await server.registry.remove("b")
        assert server.registry.engines() == []
        assert server.files() == []


async def test_removing_an_id_removes_every_version_that_points_to_it(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "a")
        (second, *_), _ = await server.add(onnx_plan(2), "a")
        await server.add(onnx_plan(2), "b")
        await server.registry.remove(str(second.id))
        assert server.registry.ready("a").engine is first
        with pytest.raises(NotFound, match=r"no engine 'b'\. There is: a\."):
            server.registry.resolve("b")


async def test_concurrent_removals_remove_an_engine_once(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan())
        removals = (server.registry.remove(str(engine.id)) for _ in range(3))
        ends = await asyncio.gather(*removals, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["NoneType", "NotFound", "NotFound"]


async def test_concurrent_additions_and_removals_stay_consistent(settings: Settings) -> None:
    async with serving(settings) as server:

        async def churn(plan: int) -> None:
            for _ in range(5):
                await server.add(onnx_plan(plan), "net")
                with suppress(NotFound):  # another task was faster
                    await server.registry.remove("net")

        await asyncio.gather(*(churn(plan % 3) for plan in range(6)))
        shown = {engine.id for engine in server.registry.engines()}
        assert shown == {engine.id for engine in server.runtime.engines()}
        assert shown == {engine.id for engine in server.store.engines()}
        assert len(server.files()) == len(shown)


async def test_a_restart_keeps_engines_names_and_ids(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net", instances=2)
        (second, *_), _ = await server.add(onnx_plan(2), "net")
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.id == second.id
        assert server.registry.ready(str(first.id))[1:] == ("net", 1)
        assert {(id, o.name, o.instances) for id, _, _, o in server.runtime.loads} == {
            (first.id, "net", 2),
            (second.id, "net", 0),
        }


async def test_after_a_restart_engines_load_in_the_background(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
    runtime = FakeRuntime()
    runtime.load_gate.clear()
    async with serving(settings, runtime) as server:
        assert server.registry.loading == 1
        with pytest.raises(Unavailable, match=r"Engine \d+ \(net\) is still loading"):
            server.registry.ready("net")
        runtime.load_gate.set()
        await loaded(server)
        assert server.registry.ready("net")


async def test_an_engine_that_cannot_be_restored_fails_with_the_reason(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(1), "bad")
        await server.add(onnx_plan(2), "good")
        server.store.plan_path(server.registry.ready("bad").engine.stored).unlink()
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("good")
        engine = server.registry.resolve("bad").engine
        assert engine.state is State.FAILED
        with pytest.raises(Unavailable, match="could not be loaded: Its plan in the store cannot be read"):
            server.registry.ready("bad")


async def test_a_failed_engine_recovers_when_its_plan_is_uploaded_again(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        server.store.plan_path(server.registry.ready("net").engine.stored).unlink()
    async with serving(settings) as server:
        await loaded(server)
        server.runtime.load_error = error("ExecutionFailed", "Out of memory.")
        with pytest.raises(Error, match="Out of memory"):
            await server.add(onnx_plan(), "net")
        assert server.registry.resolve("net").engine.state is State.FAILED
        server.runtime.load_error = None
        (_, name, version), created = await server.add(onnx_plan(), "net", instances=4)
        assert (created, name, version) == (False, "net", 1)
        assert server.registry.ready("net").engine.stored.options.instances == 4


async def test_a_failed_engine_can_be_removed(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
    runtime = FakeRuntime()
    runtime.load_error = error("Unsupported", "No backend openvino.")
    async with serving(settings, runtime) as server:
        await loaded(server)
        await server.registry.remove("net")
        assert server.registry.engines() == []
        assert server.files() == []


class Clock:
    """Replaces the registry's `time`; only the test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trtserve.engines.loading.time", clock)
    return clock


async def test_at_close_all_engines_share_one_drain_time(settings: Settings, clock: Clock) -> None:
    slow = settings.model_copy(update={"drain_s": 30.0})
    async with serving(slow) as server:
        for plan in range(DRAINS_AT_ONCE + 1):
            await server.add(onnx_plan(plan))
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(DRAINS_AT_ONCE + 1)))
        await until_loading(server, loads=DRAINS_AT_ONCE + 2)
        closing = asyncio.create_task(server.registry.close())
        await asyncio.sleep(0)
        clock.now += 10  # the load takes this long
        server.runtime.unload_gate.clear()
        server.runtime.load_gate.set()
        await adding
        await until(lambda: len(server.runtime.unloading) == DRAINS_AT_ONCE)
        clock.now += 25  # and the first drains take this long
        server.runtime.unload_gate.set()
        await closing
        given = sorted(seconds for _, seconds in server.runtime.unloads)
        assert given == [0.0, 0.0] + [20.0] * DRAINS_AT_ONCE


async def test_closing_drains_every_engine_and_refuses_new_ones(settings: Settings, clock: Clock) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan())
        await server.registry.close()
        assert server.runtime.unloads == [(engine.id, settings.drain_s)]
        assert engine.state is State.DRAINING
        with pytest.raises(Unavailable, match="The server is stopping"):
            await server.add(onnx_plan(2))
        assert len(server.files()) == 1


async def test_closing_waits_for_a_load_that_is_under_way(settings: Settings) -> None:
    async with serving(settings) as server:
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(), "net"))
        await until_loading(server)
        closing = asyncio.create_task(server.registry.close())
        await asyncio.sleep(0)
        server.runtime.load_gate.set()
        _, created = await adding
        await closing
        assert created
        assert server.runtime.engines() == []
    assert [engine.plan_bytes for engine in Store(settings.store).engines()] == [len(onnx_plan())]


@pytest.mark.parametrize("ref", ["", "nothing", "0", "007", "-1", "9" * 5000, "²", "a/b"])
async def test_an_unknown_reference_is_not_found(settings: Settings, ref: str) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        with pytest.raises(NotFound):
            server.registry.resolve(ref)
