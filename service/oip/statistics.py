"""What engines have done since they were loaded, as in the protocol's statistics extension."""

from typing import Any

from runtime_ext import Duration, EngineStats, Runtime
from trtserve.engines.engine import Resolved
from trtserve.engines.named_stats import NamedStats
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.oip import describe

NONE = {"count": 0, "ns": 0}  # there is no cache


def statistics(registry: Registry, runtime: Runtime, name: str | None, version: str | None) -> dict[str, Any]:
    """The statistics of one version of a model, of all versions, or without a name of all models.

    An engine with several names appears under each, with what was asked of it by that name. One that is not
    loaded has none and is left out; if nothing is left, raises NotFound or Unavailable.
    """
    counted = NamedStats(runtime.stats())
    asked = all_models(registry) if name is None else _asked(registry, name, version)
    found = [
        _entry(resolved, stats)
        for resolved in asked
        if (stats := counted.of(resolved.engine.id, resolved.name)) is not None
    ]
    if name is not None and not found:
        raise Unavailable(registry.resolve(name, version).engine.why_not_ready())
    return {"model_stats": found}


def all_models(registry: Registry) -> list[Resolved]:
    """Every version of every name, and each engine without a name under its ID."""
    unnamed = [registry.resolve(str(engine.id)) for engine in registry.engines() if not engine.names]
    return [*unnamed, *(found for name in registry.names() for found in _asked(registry, name, None))]


def _asked(registry: Registry, name: str, version: str | None) -> list[Resolved]:
    return describe.all_versions(registry, name) if version is None else [registry.resolve(name, version)]


def _entry(resolved: Resolved, stats: EngineStats) -> dict[str, Any]:
    return {
        "name": resolved.model_name,
        "version": resolved.model_version,
        "last_inference": stats.last_inference_ms,
        "inference_count": stats.inference_count,
        "execution_count": stats.execution_count,
        "inference_stats": {
            "success": _duration(stats.success),
            "fail": _duration(stats.fail),
            "queue": _duration(stats.queue_time),
            "compute_input": _duration(stats.compute_input),
            "compute_infer": _duration(stats.compute_infer),
            "compute_output": _duration(stats.compute_output),
            "cache_hit": NONE,
            "cache_miss": NONE,
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": batch.size,
                "compute_input": _duration(batch.compute_input),
                "compute_infer": _duration(batch.compute_infer),
                "compute_output": _duration(batch.compute_output),
            }
            for batch in stats.batches
        ],
        "memory_usage": [],
    }


def _duration(timed: Duration) -> dict[str, int]:
    return {"count": timed.count, "ns": timed.ns}
