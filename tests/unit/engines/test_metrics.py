"""The page of metrics, parsed as Prometheus parses it."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.asgi import client_of, refused
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import HANGS_AFTER_S, until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


class Page:
    """The metrics of one scrape."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self.samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The value of the only sample with this name and at least these labels."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) == 1, (name, labels, found)
        return float(found[0])

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(sample.labels) for sample in self.samples if sample.name == name]


async def scrape(client: httpx.AsyncClient) -> Page:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return Page(response.text)


@pytest.fixture
async def engine(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.post("/engines?name=net&instances=3", content=onnx_plan())).json())


async def test_requests_are_counted_by_engine_and_outcome(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    for _ in range(3):
        await client.post("/engines/net/infer", json={"inputs": [X]})
    await client.post("/engines/net/infer", json={"inputs": [X | {"name": "z"}]})
    page = await scrape(client)
    of_engine = {"engine": "net", "id": str(engine["id"])}
    assert page.value("trtserve_requests_total", outcome="Success", **of_engine) == 3
    assert page.value("trtserve_requests_total", outcome="InvalidInput", **of_engine) == 1


async def test_requests_are_labelled_by_the_name_that_the_client_called(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    await client.post("/engines?name=alias", content=onnx_plan())
    id = str(engine["id"])
    paths = [f"/engines/{id}", "/engines/net", "/engines/alias", "/v2/models/alias"]
    for path in [*paths, "/v2/models/alias/versions/1"]:
        answer = await client.post(f"{path}/infer", json={"inputs": [X]})
        assert answer.status_code == 200, answer.text
    await client.post("/engines/alias/infer", json={"inputs": [X | {"name": "z"}]})
    page = await scrape(client)

    def count(name: str, outcome: str) -> float:
        return page.value("trtserve_requests_total", engine=name, id=id, outcome=outcome)

    # By ID, it is called by the first of its names.
    assert (count("alias", "Success"), count("net", "Success"), count("alias", "InvalidInput")) == (4, 1, 1)
    assert page.value("trtserve_batch_items_count", engine="alias") == 4
    for once in ("trtserve_instances", "trtserve_queue_depth", "trtserve_engine_load_seconds"):
        assert page.labels(once) == [{"engine": "net", "id": id}]


@pytest.mark.parametrize("part", ["queue", "compute", "total", "failed"])
async def test_times_are_cumulative_histograms(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any], part: str
) -> None:
    (stats,) = runtime.stats()
    histogram = getattr(stats, part)
    histogram.counts[:] = [5, 0, 2, 1]
    histogram.sum = 1.5
    page = await scrape(client)
    name = f"trtserve_request_{part}_seconds"
    buckets = [page.value(f"{name}_bucket", le=le) for le in ("0.001", "0.01", "0.1", "+Inf")]
    assert buckets == [5, 5, 7, 8]
    assert (page.value(f"{name}_count"), page.value(f"{name}_sum")) == (8, 1.5)
    assert page.labels(f"{name}_count") == [{"engine": "net", "id": str(engine["id"])}]


@pytest.mark.parametrize("phase", ["input", "infer", "output"])
async def test_execution_phases_are_counters_in_seconds(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any], phase: str
) -> None:
    (stats,) = runtime.stats()
    getattr(stats, f"compute_{phase}").ns = 1_234_567_891
    page = await scrape(client)
    of_engine = {"engine": "net", "id": str(engine["id"])}
    assert page.value(f"trtserve_request_compute_{phase}_seconds_total", **of_engine) == 1.234567891


async def test_batch_items_are_a_histogram_over_executions(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any]
) -> None:
    (stats,) = runtime.stats()
    stats.batch.bounds[:] = [1.0, 2.0, 4.0]
    stats.batch.counts[:] = [5, 0, 2, 1]
    stats.batch.sum = 21
    page = await scrape(client)
    buckets = [page.value("trtserve_batch_items_bucket", le=le) for le in ("1.0", "2.0", "4.0", "+Inf")]
    assert buckets == [5, 5, 7, 8]
    assert (page.value("trtserve_batch_items_count"), page.value("trtserve_batch_items_sum")) == (8, 21)
    assert page.labels("trtserve_batch_items_count") == [{"engine": "net", "id": str(engine["id"])}]


async def test_what_modules_call_is_a_histogram_in_seconds(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any]
) -> None:
    (stats,) = runtime.stats()
    stats.calls.observe(0.25)
    stats.calls.observe(0.5)
    page = await scrape(client)
    of_engine = {"engine": "net", "id": str(engine["id"])}
    assert page.value("trtserve_call_seconds_count", **of_engine) == 2
    assert page.value("trtserve_call_seconds_sum", **of_engine) == 0.75


async def test_an_engine_has_gauges_for_queue_instances_and_load(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any]
) -> None:
    (stats,) = runtime.stats()
    stats.queue_depth, stats.instances_busy = 4, 2
    page = await scrape(client)
    assert page.value("trtserve_queue_depth", engine="net") == 4
    assert page.value("trtserve_instances", engine="net") == 3
    assert page.value("trtserve_instances_busy", engine="net") == 2
    assert page.value("trtserve_engine_load_seconds", engine="net") == engine["load_seconds"]


async def test_the_memory_of_a_loaded_engine_is_told_by_device_and_kind(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dict((await client.post("/engines?name=other", content=onnx_plan(2))).json())
    gone = dict((await client.post("/engines?name=gone", content=onnx_plan(3))).json())
    taken = {
        engine["id"]: {"cuda:0": {"weights": 4096, "contexts": 512}, "cpu": {"host": 64}},
        other["id"]: {"cpu": {"weights": 8192}},
    }

    def memory(id: int) -> dict[str, dict[str, int]]:
        if id not in taken:
            raise error("NotFound", f"There is no engine {id}.")  # it was unloaded meanwhile
        return taken[id]

    monkeypatch.setattr(runtime, "memory", memory)
    page = await scrape(client)

    def of(id: int) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["device"], sample.labels["kind"]): sample.value
            for sample in page.samples
            if sample.name == "trtserve_engine_memory_bytes" and sample.labels["id"] == str(id)
        }

    assert of(engine["id"]) == {("cuda:0", "weights"): 4096, ("cuda:0", "contexts"): 512, ("cpu", "host"): 64}
    assert of(other["id"]) == {("cpu", "weights"): 8192}
    assert of(gone["id"]) == {}


async def test_the_lost_devices_of_an_engine_are_told_where_it_has_several(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any]
) -> None:
    runtime.register_backend("tensorrt", "")
    plan = tensorrt_plan((11, 1, 0, 106))
    both = dict((await client.post("/engines?name=both&device=cuda:0,cuda:1", content=plan)).json())
    runtime.dead = {"cuda:1": "an illegal memory access was encountered"}
    page = await scrape(client)
    assert page.labels("trtserve_engine_replicas_lost") == [{"engine": "both", "id": str(both["id"])}]
    assert page.value("trtserve_engine_replicas_lost") == 1


@pytest.mark.parametrize("device", ["cuda:0,cuda:1", "all"])
async def test_a_device_that_was_dead_at_the_load_counts_as_lost(
    client: httpx.AsyncClient, runtime: FakeRuntime, device: str
) -> None:
    runtime.register_backend("tensorrt", "")
    runtime.devices = dict.fromkeys(("cuda:0", "cuda:1"), (2**30, 2**30))
    runtime.dead = {"cuda:1": "an illegal memory access was encountered"}
    plan = tensorrt_plan((11, 1, 0, 106))
    both = dict((await client.post(f"/engines?name=both&device={device}", content=plan)).json())
    one = tensorrt_plan((11, 1, 0, 107))
    await client.post("/engines?name=one&device=cuda:0", content=one)
    page = await scrape(client)
    assert page.labels("trtserve_engine_replicas_lost") == [{"engine": "both", "id": str(both["id"])}]
    assert page.value("trtserve_engine_replicas_lost") == 1
    assert [(each["device"], each["instances"] > 0, each["alive"]) for each in both["replicas"]] == [
        ("cuda:0", True, True),
        ("cuda:1", False, False),
    ]


async def test_engines_are_counted_by_state(
    app: FastAPI, client: httpx.AsyncClient, engine: dict[str, Any], settings: Settings
) -> None:
    page = await scrape(client)
    states = ("LOADING", "READY", "DRAINING", "FAILED")
    assert [page.value("trtserve_engines", state=state) for state in states] == [0, 1, 0, 0]

    services_of(app).store.close()  # as at the end of a process: the next opens the same store
    restarted = FakeRuntime()
    restarted.load_gate.clear()
    second = create_app(settings, runtime=restarted)
    async with second.router.lifespan_context(second), client_of(second) as again:
        page = await scrape(again)
        assert [page.value("trtserve_engines", state=state) for state in states] == [1, 0, 0, 0]
        assert page.labels("trtserve_engine_load_seconds") == []
        restarted.load_gate.set()
        await until(lambda: services_of(second).registry.loading == 0)


async def test_a_removed_engine_has_no_series(client: httpx.AsyncClient, engine: dict[str, Any]) -> None:
    await client.delete("/engines/net")
    page = await scrape(client)
    assert [s for s in page.samples if s.labels.get("engine") == "net"] == []
    assert page.value("trtserve_engines", state="READY") == 0


async def test_error_answers_are_counted_by_code(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.get("/engines/none")
    await client.put("/engines")
    page = await scrape(client)
    assert page.value("trtserve_errors_total", code="NotFound") == 2
    assert page.value("trtserve_errors_total", code="InvalidInput") == 1


async def test_process_metrics_are_included(client: httpx.AsyncClient) -> None:
    page = await scrape(client)
    assert page.value("process_resident_memory_bytes") > 0
    assert page.value("process_open_fds") > 0


async def test_openmetrics_is_served_to_clients_that_accept_it(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert "trtserve_requests" in [family.name for family in openmetrics_families(response.text)]


async def test_each_server_has_its_own_counters(client: httpx.AsyncClient, tmp_path_factory: Any) -> None:
    await client.get("/engines/none")
    other = create_app(Settings(store=tmp_path_factory.mktemp("other")), runtime=FakeRuntime())
    async with other.router.lifespan_context(other), client_of(other) as elsewhere:
        page = await scrape(elsewhere)
        assert page.value("trtserve_errors_total", code="NotFound") == 0


async def test_backend_statistics_are_counters_and_gauges_of_the_engine(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any]
) -> None:
    await client.post("/engines?name=other", content=onnx_plan(2))
    counting, other = runtime.stats()
    counting.counters = {"cuda_graph_replays": 7, "scratch_bytes": 4096}
    other.counters = {"scratch_bytes": 0}
    page = await scrape(client)
    of_engine = {"engine": "net", "id": str(engine["id"])}
    assert page.value("trtserve_backend_cuda_graph_replays_total", **of_engine) == 7
    assert page.labels("trtserve_backend_cuda_graph_replays_total") == [of_engine]
    assert page.value("trtserve_backend_scratch_bytes", **of_engine) == 4096
    assert page.value("trtserve_backend_scratch_bytes", engine="other") == 0


async def test_a_dead_device_is_reported_beside_the_live_ones(
    client: httpx.AsyncClient, runtime: FakeRuntime, engine: dict[str, Any]
) -> None:
    assert (await scrape(client)).value("trtserve_device_dead", device="cpu") == 0
    runtime.dead = {"cuda:0": "an illegal memory access was encountered"}
    page = await scrape(client)
    assert page.value("trtserve_device_dead", device="cuda:0") == 1
    assert page.value("trtserve_device_dead", device="cpu") == 0


async def test_executions_that_fail_or_never_end_are_counted(
    client: httpx.AsyncClient, engine: dict[str, Any], runtime: FakeRuntime
) -> None:
    (stats,) = runtime.stats()
    stats.failed_executions, stats.undivided_batches, stats.executions_stuck = 5, 3, 1
    runtime.abandoned = (4, 2)
    page = await scrape(client)
    of_engine = {"engine": "net", "id": str(engine["id"])}
    assert page.value("trtserve_execution_failures_total", **of_engine) == 5
    assert page.value("trtserve_batches_undivided_total", **of_engine) == 3
    assert page.value("trtserve_executions_stuck", **of_engine) == 1
    assert page.value("trtserve_instances_abandoned_total") == 4
    assert page.value("trtserve_instances_left_behind") == 2


@pytest.mark.parametrize("asks", ["stats", "memory"])
async def test_a_slow_page_of_metrics_delays_no_other_request(
    client: httpx.AsyncClient,
    runtime: FakeRuntime,
    engine: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    asks: str,
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(*engine: int) -> object:
        asked.set()
        assert go_on.wait(HANGS_AFTER_S)
        return {} if engine else []

    monkeypatch.setattr(runtime, asks, slow)
    page = asyncio.create_task(client.get("/metrics"))
    await until(asked.is_set)
    assert (await client.get("/health/live")).status_code == 200
    assert not page.done()
    go_on.set()
    assert (await page).status_code == 200


# -- a part of the page


async def two_engines(client: httpx.AsyncClient) -> tuple[str, str]:
    """The IDs of two engines, each with a request."""
    ids = []
    for seed, name in enumerate(("a", "b")):
        added = await client.post(f"/engines?name={name}", content=onnx_plan(seed))
        await client.post(f"/engines/{name}/infer", json={"inputs": [X]})
        ids.append(str(added.json()["id"]))
    return ids[0], ids[1]


@pytest.mark.parametrize("name", ["trtserve_requests", "trtserve_requests_total"])
async def test_a_client_gets_only_the_metrics_that_it_names(client: httpx.AsyncClient, name: str) -> None:
    await two_engines(client)
    asked = {"name[]": [name, "trtserve_queue_depth", "process_open_fds", "nobody_has_this"]}
    page = Page((await client.get("/metrics", params=asked)).text)
    assert {sample.name for sample in page.samples} == {
        "trtserve_requests_total",
        "trtserve_queue_depth",
        "process_open_fds",
    }


async def test_a_client_gets_the_series_of_the_engines_that_it_names(client: httpx.AsyncClient) -> None:
    first, _ = await two_engines(client)
    whole = await scrape(client)
    page = Page((await client.get("/metrics", params={"id[]": first})).text)
    assert {sample.labels["id"] for sample in page.samples if "id" in sample.labels} == {first}
    assert page.value("trtserve_engines", state="READY") == 2
    assert {sample.name for sample in page.samples} == {sample.name for sample in whole.samples}
    assert len(page.samples) < len(whole.samples)
    assert len((await scrape(client)).samples) == len(whole.samples)


async def test_openmetrics_is_filtered_too_and_ends_as_it_must(client: httpx.AsyncClient) -> None:
    await two_engines(client)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    page = await client.get("/metrics", params={"name[]": "trtserve_batch_items"}, headers=accept)
    assert {family.name for family in openmetrics_families(page.text)} == {"trtserve_batch_items"}
    nothing = await client.get("/metrics", params={"name[]": "nobody_has_this"}, headers=accept)
    assert nothing.text == "# EOF\n"


@pytest.mark.parametrize("query", ["id[]=net", "&".join(["id[]=1"] * 101), "&".join(["name[]=x"] * 101)])
async def test_what_a_client_may_name_is_bounded(client: httpx.AsyncClient, query: str) -> None:
    refused(await client.get(f"/metrics?{query}"), 400, "InvalidInput")
