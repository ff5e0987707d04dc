"""The files of engines that are built here: the models, the plans, and the libraries' timing caches.

    <store>/built/<digest>.onnx         the model that was uploaded; the digest is the engine's
    <store>/built/<digest>.<plan>.plan  a plan that was built from it, and the SHA-256 of its bytes
    <store>/timing/<name>.cache         what a library measured while it built, for later builds

Two builds of one model give plans of different bytes. So a plan has a name of its own, and the engine's row
says which one it is: a plan that no row names can be deleted, because its model is there. A model without a
row is treated as a plan without one is. The caches are written by the libraries, and may be lost at any time.
"""

import os
import uuid
from pathlib import Path

from trtserve.store.folder import BUILT_NAME, SOURCE_NAME, Layout, named
from trtserve.store.plan_file import digest_of, is_plain
from trtserve.store.rows import StoredEngine
from trtserve.store.set_aside import SetAside
from trtserve.store.staging import StagedPlan

CACHE = ".cache"


class BuiltFiles:
    """Blocks. Not thread safe, except new_part(), stage() and timing_cache(): they change nothing here."""

    def __init__(self, layout: Layout, aside: SetAside) -> None:
        self._layout = layout
        self._aside = aside

    def new_part(self) -> Path:
        """Where a plan may be built; there is no file yet, and a start deletes what is left of it."""
        return self._layout.incoming / f"{uuid.uuid4().hex}.part"

    def stage(self, part: Path) -> StagedPlan:
        """A plan that was built there, synced to disk. Reads it whole."""
        digest, size = digest_of(part)
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return StagedPlan(part, digest, size)

    def timing_cache(self, name: str) -> Path:
        return self._layout.timing / f"{name}{CACHE}"

    def delete_half_written_caches(self) -> None:
        """Delete what a library that was ended while it wrote a cache left beside it."""
        for path in self._layout.timing.iterdir():
            if path.suffix != CACHE and path.is_file():
                path.unlink()

    def keep_only_plan(self, engine: StoredEngine) -> None:
        """Delete the plans that were built for the engine, except its own."""
        for plan in self._layout.built_plans(engine.digest) - {self._layout.plan(engine)}:
            self._delete(plan)

    def delete(self, engine: StoredEngine) -> None:
        """Delete everything that was built for the engine, and its model."""
        for path in {self._layout.source(engine), *self._layout.built_plans(engine.digest)}:
            self._delete(path)

    def leftovers(self, engines: list[StoredEngine]) -> tuple[set[Path], set[Path]]:
        """The models without a row, and the plans that no row names."""
        models = {self._layout.source(engine) for engine in engines}
        plans = {self._layout.plan(engine) for engine in engines}
        return (
            named(self._layout.built, SOURCE_NAME) - models,
            named(self._layout.built, BUILT_NAME) - plans,
        )

    def _delete(self, path: Path) -> None:
        if is_plain(path):
            path.unlink(missing_ok=True)
        else:
            self._aside.take(path)
