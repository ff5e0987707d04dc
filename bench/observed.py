"""What it takes to observe a request, without a network, an engine and a server: python -m bench.observed.

The same request goes through the short way of applications that differ in nothing else, in turns, on a fake
runtime. The least of many rounds of ten requests is what other work on the machine disturbs least. Then what
the exporting thread does with a traced request.
"""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from tests.asgi import client_of
from tests.fakes.plans import onnx_plan
from trtserve.http.short_way import InferProtocol, ShortWay
from trtserve.server.app import create_app
from trtserve.server.log_format import log_to
from trtserve.services import services_of
from trtserve.settings import Settings
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.spans import Spans, resource_of

ROUNDS, REQUESTS = 4000, 10
AT_ONCE = 250  # traced requests in one export
SAME = "x-other: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
NOT_SAMPLED = SAME.replace("x-other", "traceparent")
TRACES = {"trace_endpoint": "http://127.0.0.1:9"}  # where nothing listens: nothing is exported
RARE = 1e-9
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "off": ({}, SAME),
    "traces: not drawn": ({**TRACES, "trace_rate": RARE}, SAME),
    "traces: the caller does not sample": ({**TRACES, "trace_rate": 0.0}, NOT_SAMPLED),
    "traces: traced": ({**TRACES, "trace_rate": 1.0}, SAME),
    "access log: errors": ({"access_log": "errors"}, SAME),
    "access log: not drawn": ({"access_log": "sampled", "access_log_rate": RARE}, SAME),
    "access log: all": ({"access_log": "all"}, SAME),
    "off, once more": ({}, SAME),
}


class Transport:
    """A connection whose client takes everything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def protocol_of(app: FastAPI) -> InferProtocol:
    held = services_of(app)
    short_way = ShortWay(
        held.inference, held.inflight, held.metrics.errors, held.settings, observer=held.observer
    )
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    protocol = InferProtocol(config, ServerState(), {"short_way": short_way}, asyncio.get_running_loop())
    protocol.connection_made(Transport())  # type: ignore[arg-type]
    return protocol


async def asking(
    held: AsyncExitStack, folder: Path, case: str, traced: list[Observed]
) -> Callable[[int], None]:
    """A function that sends requests; those that are traced are added to the list."""
    chosen, header = CASES[case]
    app = create_app(
        Settings(store=folder / case, **chosen), runtime=import_module("tests.fakes.runtime").FakeRuntime()
    )
    await held.enter_async_context(app.router.lifespan_context(app))
    async with client_of(app) as client:
        added = await client.post("/engines", params={"name": "net"}, content=onnx_plan())
        added.raise_for_status()
    services = services_of(app)
    if services.observer.tracing is not None:

        def keep(observed: Observed) -> None:
            if len(traced) < AT_ONCE:
                traced.append(observed)

        services.observer.tracing.ended = keep  # type: ignore[method-assign]
    protocol, completions, request = (
        protocol_of(app),
        services.completions,
        import_module("tests.connections").infer(5.0, 1, header),
    )

    def ask(requests: int) -> None:
        for _ in range(requests):
            protocol.data_received(request)
            completions._drain()

    return ask


def least_us(run: Callable[[], object], each: int) -> float:
    began = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - began) / each / 1e3


async def main() -> None:
    traced: list[Observed] = []
    async with AsyncExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="trtserve-bench-observed-")))
        log_to(held.enter_context((folder / "log").open("w")), Settings.model_validate({}))
        asks = {case: await asking(held, folder, case, traced) for case in CASES}
        gc.collect()
        gc.freeze()
        gc.disable()
        best = dict.fromkeys(CASES, float("inf"))
        for _ in range(ROUNDS):
            for case, ask in asks.items():
                best[case] = min(best[case], least_us(lambda ask=ask: ask(REQUESTS), REQUESTS))  # type: ignore[misc]
        print("| a request | us | more than off |\n|---|---|---|")
        for case, us in best.items():
            print(f"| {case} | {us:.2f} | {us - best['off']:+.2f} |")
        spans = Spans(resource_of("bench"))
        made = min(least_us(lambda: spans.of(traced).SerializeToString(), len(traced)) for _ in range(100))
        print(f"\nThe thread makes and writes the spans of a traced request in {made:.1f} us.", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
