"""Makes engines like the registry's, without a registry."""

from dataclasses import replace
from typing import Any

from tests.fakes.values import EngineInfo, TensorSpec
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import StoredEngine

X = TensorSpec("x", "FP32", [-1, 3, -1])
Y = TensorSpec("y", "BF16", [-1, 10])
ID = 3631100975371618
UNBATCHED: dict[str, Any] = {
    "max_batch_size": 1,
    "max_queue_delay_us": 0,
    "latency_target_us": 10_000,
    "preferred_batch_sizes": "",
    "batch_dims": "",
}
"""The options of an engine whose requests are not joined."""


def stored_engine(**fields: Any) -> StoredEngine:
    """A StoredEngine from its fields and its options, by their names."""
    options = {name: fields.pop(name) for name in EngineOptions.model_fields if name in fields}
    return StoredEngine(**fields, options=EngineOptions(**options))


def with_options(stored: StoredEngine, **options: Any) -> StoredEngine:
    """The engine with these options, and else its own."""
    return replace(stored, options=stored.options.model_copy(update=options))


def ready(
    name: str | None = "net",
    version: int | None = 2,
    *,
    inputs: list[TensorSpec] | None = None,
    outputs: list[TensorSpec] | None = None,
    device: str = "cpu",
    **stored: Any,
) -> Resolved:
    """Make a READY engine; `stored` overrides fields of StoredEngine."""
    fields: dict[str, Any] = {
        "id": ID,
        "digest": "ce67",
        "format": "onnx",
        "backend": "openvino",
        "device": "auto",
        "instances": 0,
        "max_queue_size": 256,
        "precision": "f16",
        "cuda_graphs": "auto",
        "plan_bytes": 100,
        "created": "2026-01-31T12:00:00.000+00:00",
        **UNBATCHED,
    }
    known = stored_engine(**fields | stored)
    info: Any = EngineInfo(
        known.id,
        name or "",
        known.backend,
        device,
        3,
        known.options.max_queue_size,
        inputs or [X],
        outputs or [Y],
    )
    return Resolved(Engine(known, state=State.READY, info=info), name, version)
