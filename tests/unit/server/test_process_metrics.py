"""The metrics of the process: what it has in progress, and how late its loop is."""

import asyncio
from collections.abc import Callable
from functools import partial

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.server.process_metrics import LoopLag
from trtserve.services import services_of
from trtserve.version import VERSION

pytestmark = pytest.mark.anyio


def value(app: FastAPI, name: str, **labels: str) -> float:
    found = services_of(app).metrics.registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


async def test_the_versions_are_labels(client: httpx.AsyncClient) -> None:
    page = (await client.get("/metrics")).text
    (line,) = [each for each in page.splitlines() if each.startswith("trtserve_build_info{")]
    assert f'version="{VERSION}"' in line
    assert line.endswith(" 1.0")


async def test_an_upload_counts_while_it_arrives_and_its_bytes_count_for_good(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    plan = onnx_plan()
    goes_on, begun = asyncio.Event(), asyncio.Event()

    async def body():  # type: ignore[no-untyped-def]
        yield plan[:1]
        begun.set()
        await goes_on.wait()
        yield plan[1:]

    upload = asyncio.create_task(client.post("/engines", content=body()))
    await begun.wait()
    await until(lambda: value(app, "trtserve_uploads_in_progress") == 1)
    goes_on.set()
    assert (await upload).status_code == 201
    assert value(app, "trtserve_uploads_in_progress") == 0
    assert value(app, "trtserve_upload_received_bytes_total") == len(plan)


async def test_an_upload_that_is_refused_no_longer_counts(app: FastAPI, client: httpx.AsyncClient) -> None:
    assert (await client.post("/engines", content=b"no plan")).status_code == 400
    assert value(app, "trtserve_uploads_in_progress") == 0


async def test_a_request_is_in_flight_until_it_ends(
    app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await client.post("/engines?name=net", content=onnx_plan())
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    completions = services_of(app).completions
    completions.detach()  # no completion arrives
    request = asyncio.create_task(client.post("/engines/net/infer", json={"inputs": [x]}))
    await until(lambda: value(app, "trtserve_requests_in_flight") == 1)
    completions.attach()
    assert (await request).status_code == 200
    assert value(app, "trtserve_requests_in_flight") == 0


class StoppedLoop:
    """The parts of an event loop that LoopLag uses, with a time of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: object) -> None:
        self.due.append((when, partial(callback, *args)))

    def run_next(self, late_s: float) -> None:
        when, callback = self.due.pop()
        self.now = when + late_s
        callback()


def test_what_a_busy_loop_is_late_by_is_observed_once_a_second() -> None:
    registry, loop = CollectorRegistry(), StoppedLoop()
    LoopLag(registry).attach(loop)  # type: ignore[arg-type]
    for late_s in (0.0, 0.25, 3.0):
        loop.run_next(late_s)
    assert loop.due[0][0] == loop.now + 1
    name = "trtserve_event_loop_lag_seconds"
    assert registry.get_sample_value(f"{name}_count") == 3
    assert registry.get_sample_value(f"{name}_sum") == pytest.approx(3.25)
    assert registry.get_sample_value(f"{name}_bucket", {"le": "0.25"}) == 2
