"""The routes of engines, with a fake runtime."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from tests.asgi import refused
from tests.fakes.plans import onnx_plan, padding
from tests.fakes.runtime import CONTEXT_BYTES, MEMORY_BYTES, FakeRuntime, ShapeRange, TensorSpec
from tests.waiting import until
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", drain_s=1.0, max_plan_bytes=10_000_000)


def files(settings: Settings) -> list[str]:
    return [file.name for folder in ("incoming", "plans") for file in (settings.store / folder).iterdir()]


@pytest.mark.parametrize(
    "target", ["/engines?name=net.onnx", "/engines/net.onnx", "/engines/net.onnx?name=net.onnx"]
)
async def test_a_put_uploads_too_as_curl_sends_it(client: httpx.AsyncClient, target: str) -> None:
    for status in (201, 200):
        response = await client.put(target, content=onnx_plan())
        assert (response.status_code, response.json()["name"]) == (status, "net.onnx")
        assert response.headers["location"] == f"/engines/{response.json()['id']}"
    options = await client.options(target)
    assert "PUT" in options.headers["allow"].split(", ")


async def test_a_put_takes_one_name_that_is_valid(client: httpx.AsyncClient) -> None:
    for target, why in {
        "/engines/net?name=other": "The path names the engine net, and the query other",
        "/engines/7": "should be a letter or _",
        "/engines/a%20b": "should be a letter or _",
    }.items():
        assert why in refused(await client.put(target, content=onnx_plan()), 400, "InvalidInput")
    assert (await client.get("/engines")).json()["engines"] == []


async def test_an_upload_is_answered_with_the_ready_engine(client: httpx.AsyncClient) -> None:
    plan = onnx_plan()
    response = await client.post("/engines", params={"name": "lenet", "instances": 2}, content=plan)
    assert response.status_code == 201, response.text
    engine = response.json()
    digest = hashlib.sha256(plan).hexdigest()
    assert response.headers["location"] == f"/engines/{engine['id']}"
    assert engine.pop("load_seconds") >= 0
    assert engine.pop("created").endswith("+00:00")
    assert engine == {
        "id": int(digest[:13], 16),
        "digest": f"sha256:{digest}",
        "name": "lenet",
        "version": 1,
        "names": [{"name": "lenet", "version": 1, "current": True}],
        "state": "READY",
        "reason": None,
        "backend": "openvino",
        "format": "onnx",
        "device": "cpu",
        "instances": 2,
        "asked": {"device": "auto", "instances": 2, "max_batch_size": "auto"},
        "max_queue_size": 256,
        "cuda_graphs": "auto",
        "max_batch_size": 1,
        "why_not_joined": None,
        "max_queue_delay_us": 0,
        "latency_target_us": 10_000,
        "preferred_batch_sizes": [],
        "batch_dims": {},
        "joins_requests": False,
        "executions_stuck": 0,
        "residency": "eager",
        "memory": {"cpu": {"weights": MEMORY_BYTES - CONTEXT_BYTES, "contexts": CONTEXT_BYTES}},
        "cold_start_seconds": None,
        "plan_bytes": len(plan),
        "build": None,
        "replicas": [{"device": "cpu", "instances": 2, "alive": True, "reason": None}],
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [-1, 4],
                "profiles": [{"min": [1, 4], "opt": [1, 4], "max": [-1, 4]}],
                "values": [],
                "location": "host",
                "format": "",
                "computed_as": None,
            }
        ],
        "outputs": [
            {
                "name": "y",
                "datatype": "FP32",
                "shape": [-1, 4],
                "location": "host",
                "format": "",
                "computed_as": None,
            }
        ],
        "properties": {"made_by": "the fake runtime"},
        "change": None,
        "uses": [],
        "used_by": [],
        "metadata": None,
    }


async def test_the_location_header_of_an_upload_is_the_engine(client: httpx.AsyncClient) -> None:
    uploaded = await client.post("/engines", content=onnx_plan())
    got = await client.get(uploaded.headers["location"])
    assert got.status_code == 200
    assert got.json() == uploaded.json()
    assert (got.json()["name"], got.json()["version"]) == (None, None)


async def test_a_second_upload_of_a_plan_is_a_200_with_the_same_engine(client: httpx.AsyncClient) -> None:
    first = await client.post("/engines?name=net", content=onnx_plan())
    again = await client.post("/engines?name=net", content=onnx_plan())
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["location"] == first.headers["location"]


async def test_a_second_plan_under_a_name_becomes_its_current_version(client: httpx.AsyncClient) -> None:
    first = (await client.post("/engines?name=net", content=onnx_plan(1))).json()
    second = (await client.post("/engines?name=net", content=onnx_plan(2))).json()
    assert (second["name"], second["version"]) == ("net", 2)
    assert (await client.get("/engines/net")).json()["id"] == second["id"]
    by_id = (await client.get(f"/engines/{first['id']}")).json()
    assert by_id["names"] == [{"name": "net", "version": 1, "current": False}]
    listed = (await client.get("/engines")).json()["engines"]
    assert [engine["version"] for engine in listed] == [1, 2]


async def test_engines_are_listed_in_pages(client: httpx.AsyncClient) -> None:
    ids = [(await client.post("/engines", content=onnx_plan(seed))).json()["id"] for seed in range(5)]
    pages, path = [], "/engines?limit=2"
    while path:
        response = await client.get(path)
        pages.append([engine["id"] for engine in response.json()["engines"]])
        path = response.json().get("next")
        assert response.headers.get("link") == (path and f'<{path}>; rel="next"')
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    whole = (await client.get("/engines")).json()
    assert ([engine["id"] for engine in whole["engines"]], whole.keys()) == (ids, {"engines"})


async def test_a_page_that_is_just_full_is_the_last(client: httpx.AsyncClient) -> None:
    await client.post("/engines", content=onnx_plan())
    assert "next" not in (await client.get("/engines?limit=1")).json()


async def test_pages_miss_and_repeat_no_engine_while_others_come_and_go(client: httpx.AsyncClient) -> None:
    first, second, third, fourth = [
        (await client.post("/engines", content=onnx_plan(seed))).json()["id"] for seed in range(4)
    ]
    page = (await client.get("/engines?limit=2")).json()
    assert [engine["id"] for engine in page["engines"]] == [first, second]
    await client.delete(f"/engines/{first}")
    await client.delete(f"/engines/{second}")
    await client.delete(f"/engines/{third}")
    newest = (await client.post("/engines", content=onnx_plan(0))).json()["id"]
    page = (await client.get(page["next"])).json()
    assert [engine["id"] for engine in page["engines"]] == [fourth, newest]
    assert "next" not in page


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "after=-1", "after=x", f"after={2**63}"]
)
async def test_a_wrong_page_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert query.partition("=")[0] in refused(await client.get(f"/engines?{query}"), 400, "InvalidInput")


async def test_a_removed_engine_is_gone(client: httpx.AsyncClient, settings: Settings) -> None:
    await client.post("/engines?name=net", content=onnx_plan())
    response = await client.delete("/engines/net")
    assert (response.status_code, response.content) == (204, b"")
    assert (await client.get("/engines")).json() == {"engines": []}
    assert files(settings) == []
    assert "this server has none" in refused(await client.get("/engines/net"), 404, "NotFound")
    assert "this server has none" in refused(await client.delete("/engines/net"), 404, "NotFound")


async def test_the_graph_is_served_as_text(client: httpx.AsyncClient) -> None:
    await client.post("/engines?name=net", content=onnx_plan())
    response = await client.get("/engines/net/graph")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.startswith("graph(%self")


@pytest.mark.parametrize("query", ["", "?plan=false"])
async def test_the_module_is_served_as_a_file_with_the_plan_or_without(
    client: httpx.AsyncClient, query: str
) -> None:
    engine = (await client.post("/engines?name=net", content=onnx_plan())).json()
    response = await client.get(f"/engines/net/module{query}")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == 'attachment; filename="net.pt"'
    carried = b"" if query else b" with " + onnx_plan()
    assert response.content == f"PK module of {engine['id']}".encode() + carried


async def test_a_large_plan_arrives_whole_in_chunks(client: httpx.AsyncClient, settings: Settings) -> None:
    plan = onnx_plan(padding=0) + padding(9_000_000)

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(plan), 70_001):
            yield plan[begin : begin + 70_001]

    response = await client.post("/engines", content=chunks())
    assert response.status_code == 201, response.text
    assert response.json()["digest"] == f"sha256:{hashlib.sha256(plan).hexdigest()}"
    (file,) = (settings.store / "plans").iterdir()
    assert file.read_bytes() == plan


async def test_other_engines_are_listed_during_a_load(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await client.post("/engines?name=ready", content=onnx_plan(1))
    runtime.load_gate.clear()
    loading = asyncio.create_task(client.post("/engines?name=late", content=onnx_plan(2)))
    await until(lambda: len(runtime.loads) == 2)
    states = [engine["state"] for engine in (await client.get("/engines")).json()["engines"]]
    assert states == ["READY", "LOADING"]
    assert (await client.get("/engines/ready/graph")).status_code == 200
    refused(await client.get("/engines/late"), 404, "NotFound")  # the name exists once its engine is ready
    runtime.load_gate.set()
    assert (await loading).status_code == 201


async def test_an_output_of_unknown_rank_has_shape_null(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.outputs = [TensorSpec("y", "INT64", None)]
    engine = (await client.post("/engines", content=onnx_plan())).json()
    (output,) = engine["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "INT64", None)


async def test_a_tensor_shows_its_format_location_and_allowed_values(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    taken = [ShapeRange([1, 1], [8, 8], [16, 16]), ShapeRange([16, 1], [32, 8], [64, 16])]
    runtime.inputs = [TensorSpec("size", "INT64", [2], values=taken, location="host")]
    runtime.outputs = [TensorSpec("y", "FP16", [1, 8], location="device", format="row-major linear FP16")]
    engine = (await client.post("/engines", content=onnx_plan())).json()
    (size,), (y,) = engine["inputs"], engine["outputs"]
    assert (size["location"], size["format"]) == ("host", "")
    assert (size["profiles"], size["values"]) == ([], [asdict(values) for values in taken])
    assert (y["location"], y["format"]) == ("device", "row-major linear FP16")


async def test_the_option_cuda_graphs_is_requested_stored_and_shown(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    engine = (await client.post("/engines?cuda_graphs=off", content=onnx_plan())).json()
    assert engine["cuda_graphs"] == "off"
    assert runtime.loads[0][3].cuda_graphs == "off"
    assert (await client.post("/engines", content=onnx_plan())).json()["cuda_graphs"] == "off"
    again = await client.post("/engines?cuda_graphs=on", content=onnx_plan())
    assert (again.status_code, again.json()["cuda_graphs"]) == (200, "on")


async def test_a_backend_without_an_inspector_is_unsupported(client: httpx.AsyncClient) -> None:
    await client.post("/engines?name=net", content=onnx_plan())
    refused(await client.get("/engines/net/layers"), 501, "Unsupported")
