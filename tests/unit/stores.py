"""Creating, killing and inspecting stores in tests."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fakes.engines import UNBATCHED, stored_engine
from tests.fakes.plans import onnx_plan
from trtserve.options.build_options import BuildOptions
from trtserve.store.build_record import Build
from trtserve.store.database import StoredEngine
from trtserve.store.staging import StagedPlan, engine_id
from trtserve.store.store import Store


def stage(store: Store, plan: bytes) -> StagedPlan:
    writer = store.new_upload()
    writer.write([plan[:3], plan[3:]])
    return writer.finish()


def stored(plan: StagedPlan, **other: Any) -> StoredEngine:
    """The stored form of a plan; `other` replaces default fields."""
    fields: dict[str, Any] = {
        "id": engine_id(plan.digest),
        "digest": plan.digest,
        "format": "onnx",
        "backend": "openvino",
        "device": "auto",
        "instances": 2,
        "max_queue_size": 8,
        "precision": "f32",
        "cuda_graphs": "auto",
        "plan_bytes": plan.size,
        "created": "2030-01-01T00:00:00.000+00:00",
        **UNBATCHED,
    }
    return stored_engine(**fields | other)


def add(store: Store, seed: object, name: str | None = None, **other: Any) -> StoredEngine:
    """Store the engine of onnx_plan(seed)."""
    staged = stage(store, onnx_plan(seed))
    engine = stored(staged, **other)
    store.adopt(staged, engine)
    store.commit(engine, name)
    return engine


def killed(root: Path, into: Path) -> Path:
    """Copy an open store, as a server killed now would leave it."""
    shutil.rmtree(into, ignore_errors=True)
    return shutil.copytree(root, into)


def whole_plans(root: Path) -> set[str]:
    """The digests of all intact plans anywhere in the store."""
    return {path.name.partition(".")[0] for path in root.rglob("*.plan*") if path.is_file()}


def aside(root: Path) -> list[str]:
    """The names of the files set aside."""
    folder = root / "set-aside"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def built(plan: StagedPlan, **other: Any) -> StoredEngine:
    """The stored form of an engine that is built from this model, before its build; see stored()."""
    build = Build(
        source=plan.digest, source_bytes=plan.size, options=BuildOptions(**other.pop("options", {}))
    )
    fields = {"id": engine_id(build.digest), "digest": build.digest, "plan_bytes": 0}
    return replace(stored(plan, **other), **fields, format="tensorrt", backend="tensorrt", build=build)


def with_plan(store: Store, engine: StoredEngine, plan: bytes, target: str = "T 1") -> StoredEngine:
    """Build this plan for the engine."""
    part = store.built.new_part()
    part.write_bytes(plan)
    staged = store.built.stage(part)
    assert engine.build is not None
    build = engine.build.with_(plan=staged.digest, target=target)
    engine = replace(engine, build=build, plan_bytes=staged.size)
    store.adopt_built(staged, engine)
    return engine
