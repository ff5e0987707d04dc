"""Servers with room for two engines, for tests of engines that come and go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import MEMORY_BYTES
from tests.submitting import submit
from tests.unit import serving as real
from tests.unit.serving import Server
from trtserve.engines.engine import Resolved, State
from trtserve.settings import Settings

ROW = ("x", "FP32", [1, 4], bytes(16))


def budget(engines: float) -> str:
    return f"cpu={int(engines * MEMORY_BYTES)}"


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
