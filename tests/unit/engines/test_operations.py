"""What clients ask of the registry: it runs to its end, and its number is bounded."""

import asyncio

import pytest

from trtserve.engines.operations import MOST_ASKED, Operations
from trtserve.errors import Unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_operation_goes_on_when_its_caller_leaves() -> None:
    operations, goes_on, ended = Operations(), asyncio.Event(), asyncio.Event()

    async def operation() -> None:
        await goes_on.wait()
        ended.set()

    caller = asyncio.create_task(operations.run(operation()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait((caller,))
    assert len(operations) == 1
    goes_on.set()
    await operations.settled(60.0)
    assert (ended.is_set(), len(operations)) == (True, 0)


async def test_operations_whose_callers_left_are_bounded() -> None:
    operations, goes_on = Operations(), asyncio.Event()

    async def operation() -> None:
        await goes_on.wait()

    callers = [asyncio.create_task(operations.run(operation())) for _ in range(MOST_ASKED)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    with pytest.raises(Unavailable, match=f"^{MOST_ASKED} changes of engines are under way") as refused:
        await operations.run(operation())
    assert refused.value.retry_after == 10.0
    own = operations.begin(operation())  # the server's own are not counted
    goes_on.set()
    await own
    await operations.settled(60.0)
    await operations.run(operation())
