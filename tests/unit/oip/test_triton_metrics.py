"""Triton's names of metrics, beside our own."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from tests.asgi import client_of
from tests.fakes.nvml import nvml
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import EngineStats
from trtserve.engines.gpu_metrics import GpuCollector
from trtserve.oip.triton_metrics import TritonGpus
from trtserve.server.app import create_app
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
DURATIONS = ("request", "queue", "compute_input", "compute_infer", "compute_output")


@asynccontextmanager
async def with_triton_metrics(settings: Settings, runtime: FakeRuntime) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update={"triton_metrics": True}), runtime)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def series(text: str) -> dict[tuple[str, str, str], float]:
    """Values by sample, model and version. Read line by line: a parser would give counters a `_total`."""
    lines = re.findall(r'^(nv_\w+){model="(\w+)",version="(\d+)"} (\S+)$', text, re.MULTILINE)
    return {(name, model, version): float(value) for name, model, version, value in lines}


async def test_the_numbers_of_each_model_stand_under_tritons_names(
    settings: Settings, runtime: FakeRuntime
) -> None:
    async with with_triton_metrics(settings, runtime) as client:
        await client.post("/engines?name=net", content=onnx_plan())
        for _ in range(3):
            assert (await client.post("/engines/net/infer", json={"inputs": [X]})).status_code == 200
        found = series((await client.get("/metrics")).text)
        statistics = (await client.get("/v2/models/net/stats")).json()["model_stats"][0]
    assert found["nv_inference_request_success", "net", "1"] == 3
    assert found["nv_inference_count", "net", "1"] == statistics["inference_count"]
    assert found["nv_inference_exec_count", "net", "1"] == statistics["execution_count"]
    assert found["nv_inference_pending_request_count", "net", "1"] == 0
    for name in DURATIONS:
        told = statistics["inference_stats"]["success" if name == "request" else name]
        assert found[f"nv_inference_{name}_duration_us", "net", "1"] == told["ns"] // 1000


async def test_an_engine_has_a_series_for_each_of_its_names(settings: Settings, runtime: FakeRuntime) -> None:
    async with with_triton_metrics(settings, runtime) as client:
        await client.post("/engines?name=a", content=onnx_plan())
        await client.post("/engines?name=b", content=onnx_plan())
        await client.post("/engines/a/infer", json={"inputs": [X]})
        found = series((await client.get("/metrics")).text)
    assert found["nv_inference_request_success", "a", "1"] == 1
    assert found["nv_inference_request_success", "b", "1"] == 0


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("QueueFull", "REJECTED"),
        ("DeadlineExceeded", "REJECTED"),
        ("Cancelled", "CANCELED"),
        ("ExecutionFailed", "BACKEND"),
        ("InvalidInput", "OTHER"),
    ],
)
async def test_a_failure_has_tritons_reason(
    settings: Settings, runtime: FakeRuntime, outcome: str, reason: str
) -> None:
    async with with_triton_metrics(settings, runtime) as client:
        await client.post("/engines?name=net", content=onnx_plan())
        (engine,) = runtime.stats()
        engine.outcomes = {"Success": 5, outcome: 2}
        page = (await client.get("/metrics")).text
    labels = 'model="net",version="1"'
    for each in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
        count = 2 if each == reason else 0
        assert f'nv_inference_request_failure{{{labels},reason="{each}"}} {count}.0\n' in page


async def test_openmetrics_calls_the_type_of_such_counters_unknown(
    settings: Settings, runtime: FakeRuntime
) -> None:
    async with with_triton_metrics(settings, runtime) as client:
        await client.post("/engines?name=net", content=onnx_plan())
        page = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    families = {family.name: family.type for family in openmetrics_families(page.text)}
    assert families["nv_inference_request_success"] == "unknown"
    assert families["trtserve_requests"] == "counter"


async def test_there_are_none_unless_a_setting_asks_for_them(client: httpx.AsyncClient) -> None:
    await client.post("/engines?name=net", content=onnx_plan())
    assert "nv_" not in (await client.get("/metrics")).text


async def test_a_scrape_asks_the_runtime_once(
    settings: Settings, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    stats = runtime.stats

    def counted() -> list[EngineStats]:
        asked.append(1)
        return stats()

    async with with_triton_metrics(settings, runtime) as client:
        await client.post("/engines?name=net", content=onnx_plan())
        monkeypatch.setattr(runtime, "stats", counted)
        found = series((await client.get("/metrics")).text)
    assert found["nv_inference_request_success", "net", "1"] == 0
    assert len(asked) == 1


def test_the_gpus_have_tritons_names_and_labels_beside_ours() -> None:
    found = {
        sample.name: (dict(sample.labels), sample.value)
        for family in TritonGpus(GpuCollector(nvml(gpus=1))).collect()
        for sample in family.samples
    }
    assert found["trtserve_gpu_power_watts"] == ({"gpu": "0", "uuid": "GPU-0"}, 350.5)
    gpu = {"gpu_uuid": "GPU-0"}
    assert {name: each for name, each in found.items() if name.startswith("nv_")} == {
        "nv_gpu_utilization": (gpu, 0.25),
        "nv_gpu_memory_total_bytes": (gpu, 80_000),
        "nv_gpu_memory_used_bytes": (gpu, 1_000),
        "nv_gpu_power_usage": (gpu, 350.5),
        "nv_gpu_power_limit": (gpu, 700),
        "nv_energy_consumption": (gpu, 5),
    }
