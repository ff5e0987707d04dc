"""The order in which the engines of a start ask for memory."""

import asyncio

import pytest

from trtserve.engines.engine import Engine, State
from trtserve.engines.start_order import StartOrder
from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import StoredEngine
from trtserve.store.module_uses import Uses

pytestmark = pytest.mark.anyio


def engine(id: int, residency: str = "eager", calls: tuple[int, ...] = ()) -> Engine:
    stored = StoredEngine(
        id=id,
        digest=f"{id:064x}",
        format="torchscript" if calls else "onnx",
        backend="torchscript" if calls else "openvino",
        options=EngineOptions(residency=residency),
        plan_bytes=1,
        created="2026-01-31T00:00:00.000+00:00",
        uses=Uses(ids=calls) if calls else None,
    )
    return Engine(stored)


async def begun(order: StartOrder, *engines: Engine) -> list[int]:
    """The IDs of those of the engines whose turn has come."""
    turns = {each.id: asyncio.create_task(order.turn(each)) for each in engines}
    for _ in range(5):
        await asyncio.sleep(0)
    came = [id for id, turn in turns.items() if turn.done()]
    for turn in turns.values():
        turn.cancel()
    return came


async def test_the_others_wait_until_every_pinned_engine_has_asked() -> None:
    one, two, other = engine(1, "pinned"), engine(2, "pinned"), engine(3)
    order = StartOrder([other, one, two])
    assert [each.id for each in order] == [1, 2, 3]
    assert await begun(order, one, two, other) == [1, 2]
    order.asks(one)
    assert await begun(order, other) == []
    order.asks(two)
    assert await begun(order, other) == [3]


async def test_nobody_waits_where_nothing_is_pinned() -> None:
    one = engine(1)
    assert await begun(StartOrder([one]), one) == [1]


async def test_what_a_pinned_module_calls_goes_before_the_others_with_it() -> None:
    module, inner = engine(1, "pinned", calls=(2,)), engine(2, calls=(3,))
    called, other = engine(3), engine(4)
    order = StartOrder([module, inner, called, other])
    assert await begun(order, module, inner, called, other) == [1, 2, 3]
    order.asks(called)
    order.asks(inner)
    assert await begun(order, other) == []
    order.asks(module)
    assert await begun(order, other) == [4]


@pytest.mark.parametrize("builds", [1, 2])
async def test_nobody_waits_for_a_build(builds: int) -> None:
    module, called, other = engine(1, "pinned", calls=(2,)), engine(2), engine(3)
    order = StartOrder([module, called, other])
    built = {1: module, 2: called}[builds]
    built.state = State.BUILDING
    order.asks(built)
    assert await begun(order, other) == [3]
