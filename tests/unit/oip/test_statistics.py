"""The work of engines as the protocol's statistics."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.fakes.values import BatchStats, Duration
from tests.unit.serving import Server, loaded, serving
from trtserve.errors import NotFound, Unavailable
from trtserve.oip.statistics import statistics
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


def entries(server: Server, name: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
    answer = statistics(server.registry, server.runtime, name, version)
    assert answer.keys() == {"model_stats"}
    return list(answer["model_stats"])


def which(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((each["name"], each["version"]) for each in found)


async def test_every_number_has_its_name_in_the_protocol(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        (stats,) = server.runtime.stats()
        stats.success, stats.fail, stats.queue_time = Duration(7, 70), Duration(1, 2), Duration(8, 800)
        stats.compute_input, stats.compute_infer = Duration(7, 3), Duration(7, 4)
        stats.compute_output = Duration(7, 5)
        stats.inference_count, stats.execution_count, stats.last_inference_ms = 21, 5, 1_700_000_000_000
        stats.batches = [
            BatchStats(1, Duration(2, 20), Duration(2, 21), Duration(2, 22)),
            BatchStats(4, Duration(3, 30), Duration(3, 31), Duration(3, 32)),
        ]
        assert entries(server) == [
            {
                "name": "net",
                "version": "1",
                "last_inference": 1_700_000_000_000,
                "inference_count": 21,
                "execution_count": 5,
                "inference_stats": {
                    "success": {"count": 7, "ns": 70},
                    "fail": {"count": 1, "ns": 2},
                    "queue": {"count": 8, "ns": 800},
                    "compute_input": {"count": 7, "ns": 3},
                    "compute_infer": {"count": 7, "ns": 4},
                    "compute_output": {"count": 7, "ns": 5},
                    "cache_hit": {"count": 0, "ns": 0},
                    "cache_miss": {"count": 0, "ns": 0},
                },
                "response_stats": {},
                "batch_stats": [
                    {
                        "batch_size": 1,
                        "compute_input": {"count": 2, "ns": 20},
                        "compute_infer": {"count": 2, "ns": 21},
                        "compute_output": {"count": 2, "ns": 22},
                    },
                    {
                        "batch_size": 4,
                        "compute_input": {"count": 3, "ns": 30},
                        "compute_infer": {"count": 3, "ns": 31},
                        "compute_output": {"count": 3, "ns": 32},
                    },
                ],
                "memory_usage": [],
            }
        ]


async def test_a_name_has_an_entry_per_version_and_an_unnamed_engine_has_its_id(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(1), "net")
        await server.add(onnx_plan(2), "net")
        await server.add(onnx_plan(2), "alias")
        unnamed, _ = await server.add(onnx_plan(3))
        id = str(unnamed.engine.id)
        assert which(entries(server)) == sorted([("alias", "1"), (id, "1"), ("net", "1"), ("net", "2")])
        assert which(entries(server, "net")) == [("net", "1"), ("net", "2")]
        assert which(entries(server, "net", "1")) == [("net", "1")]
        assert which(entries(server, id)) == [(id, "1")]


async def test_each_version_has_the_numbers_of_its_own_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        first, _ = await server.add(onnx_plan(1), "net")
        await server.add(onnx_plan(2), "net")
        for stats in server.runtime.stats():
            stats.inference_count = 1 if stats.id == first.engine.id else 2
        assert [(each["version"], each["inference_count"]) for each in entries(server, "net")] == [
            ("1", 1),
            ("2", 2),
        ]
        assert entries(server, "net", "2")[0]["inference_count"] == 2


async def test_each_name_of_an_engine_has_the_requests_that_called_it_by_that(settings: Settings) -> None:
    async with serving(settings) as server:
        resolved, _ = await server.add(onnx_plan(), "net")
        await server.add(onnx_plan(), "alias")
        await server.add(onnx_plan(), "idle")
        for name in ("net", "alias", "alias"):
            prepared = server.runtime.prepare(resolved.engine.id, [("x", "FP32", [1, 4])], name)
            server.runtime.submit(prepared, (bytes(16),))
        counts = {
            each["name"]: (each["inference_stats"]["success"]["count"], each["execution_count"])
            for each in entries(server)
        }
        assert counts == {"net": (1, 1), "alias": (2, 2), "idle": (0, 0)}
        (idle,) = entries(server, "idle")
        assert (idle["batch_stats"], idle["last_inference"]) == ([], 0)


async def test_an_unknown_name_or_version_is_not_found(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        for name, version in (("nte", None), ("net", "2"), ("net", "x")):
            with pytest.raises(NotFound):
                entries(server, name, version)


async def test_an_engine_that_is_not_resident_is_left_out_or_unavailable_if_requested(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store", drain_s=1.0)
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
    runtime = FakeRuntime()
    runtime.load_error = error("Unsupported", "the driver is gone")
    async with serving(settings, runtime) as server:
        await loaded(server)
        assert entries(server) == []
        with pytest.raises(Unavailable, match="the driver is gone"):
            entries(server, "net")
        with pytest.raises(Unavailable, match="the driver is gone"):
            entries(server, "net", "1")
