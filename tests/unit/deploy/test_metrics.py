"""The table of metrics is what a server exposes, and the metrics named in deploy/ and docs/ exist."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI

from deploy.monitoring.metrics import METRICS, OF_THE_PROCESS
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from trtserve.engines.engine import State
from trtserve.errors import HTTP_STATUS
from trtserve.services import services_of

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "alerts.yml"
SAMPLES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SELECTED = re.compile(r'(\w+)\{[^}]*?\b(state|outcome|code)="(\w+)"')
TENSORRT_COUNTERS = (
    "contexts_discarded",
    "cuda_graph_captures",
    "cuda_graph_replays",
    "cuda_graphs_disabled",
    "scratch_bytes",
)
NAME = re.compile(r"\btrtserve_\w*[a-z](?!\w|_\*)")


@pytest.fixture
async def families(app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime) -> dict[str, str]:
    """The type of each metric by name, on a server with an engine of the tensorrt backend."""
    await client.post("/engines?name=net", content=onnx_plan())
    (engine,) = runtime.stats()
    engine.counters = dict.fromkeys(TENSORRT_COUNTERS, 0)
    services_of(app).metrics.look()
    return {metric.name: metric.type for metric in services_of(app).metrics.registry.collect()}


@pytest.fixture
def samples(families: dict[str, str]) -> set[str]:
    return {name + end for name, type in families.items() for end in SAMPLES.get(type, ())}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


async def test_every_metric_named_in_the_docs_exists(families: dict[str, str], samples: set[str]) -> None:
    histograms = {name for name, type in families.items() if type == "histogram"}
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")]:
        named = set(NAME.findall(page.read_text()))
        assert named <= samples | histograms, page.name


async def test_the_table_has_every_metric_with_its_type(families: dict[str, str]) -> None:
    listed = {metric.name.removesuffix("_total"): metric.kind for metric in METRICS}
    assert listed == {name: kind for name, kind in families.items() if name.startswith("trtserve_")}


async def test_the_table_has_the_labels_of_every_metric(app: FastAPI, families: dict[str, str]) -> None:
    labels: dict[str, set[frozenset[str]]] = {}
    for family in services_of(app).metrics.registry.collect():
        for sample in family.samples:
            labels.setdefault(family.name, set()).add(frozenset(sample.labels) - {"le"})
    listed = {metric.name.removesuffix("_total"): {frozenset(metric.labels)} for metric in METRICS}
    assert {name: found for name, found in labels.items() if name in listed} == {
        name: found for name, found in listed.items() if name in labels
    }


async def test_the_process_has_the_metrics_that_the_dashboard_shows(families: dict[str, str]) -> None:
    names = {name + ("_total" if kind == "counter" else "") for name, kind in families.items()}
    assert names >= OF_THE_PROCESS


async def test_an_error_that_never_came_is_counted_as_zero(client: httpx.AsyncClient) -> None:
    page = (await client.get("/metrics")).text
    for code in HTTP_STATUS:
        assert f'trtserve_errors_total{{code="{code}"}} 0.0' in page


async def test_every_alert_uses_an_existing_metric(samples: set[str]) -> None:
    for rule in rules():
        named = set(NAME.findall(rule["expr"]))
        assert named <= samples, rule["alert"]
        assert named or re.search(r"\bup\{|\bprocess_start_time_seconds\b", rule["expr"])


async def test_every_gauge_that_is_above_zero_only_in_trouble_has_an_alert(samples: set[str]) -> None:
    trouble = {
        "trtserve_device_dead",
        "trtserve_executions_stuck",
        "trtserve_instances_left_behind",
        "trtserve_engines_retried",
        "trtserve_loads_waiting",
        "trtserve_loads_given_up",
    }
    assert trouble <= samples
    assert trouble <= {name for rule in rules() for name in NAME.findall(rule["expr"])}


def test_every_label_in_an_alert_has_an_existing_value() -> None:
    values = {"state": set(State), "outcome": {"Success", *HTTP_STATUS}, "code": set(HTTP_STATUS)}
    of_builds = {"succeeded", "failed", "cancelled"}
    selected = {found for rule in rules() for found in SELECTED.findall(rule["expr"])}
    assert {label for _, label, _ in selected} == values.keys()
    for metric, label, value in selected:
        assert value in (of_builds if metric == "trtserve_builds_total" else values[label])


@pytest.mark.parametrize("path", ["prometheus.yml", "compose/prometheus.yml"])
def test_prometheus_loads_the_alerts(path: str) -> None:
    config = yaml.safe_load((ROOT / "deploy" / path).read_text())
    assert config["rule_files"] == [ALERTS.name]
    assert {job["job_name"] for job in config["scrape_configs"]} == {"trtserve"}
