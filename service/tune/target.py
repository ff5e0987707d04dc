"""What a tune measures: a plan file or an engine of a store, and what to try.

A server may be using the store meanwhile: nothing in it is changed.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runtime_ext import Runtime
from trtserve.engines.engine import Engine
from trtserve.engines.lookup import Lookup
from trtserve.errors import NotFound, Unavailable
from trtserve.formats.backends import backend_of
from trtserve.formats.format import Format
from trtserve.formats.sniff import sniff
from trtserve.formats.tensorrt_head import HEAD_BYTES
from trtserve.options.batching import AUTO, read_sizes
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.checks import choose_format
from trtserve.settings import MAX_DELAY_US, Settings
from trtserve.store.database import StoredEngine, read_only
from trtserve.store.folder import Layout

ENGINE_ID = 1  # of a plan file's engine: in this process it is the only one

Delay = int | Literal["auto"]  # microseconds, or as long as it pays


@dataclass(frozen=True)
class Setting:
    """The setting that a tune looks for."""

    instances: int
    max_batch_size: int
    max_queue_delay_us: Delay

    def __str__(self) -> str:
        return (
            f"instances {self.instances}, max_batch_size {self.max_batch_size}, "
            f"max_queue_delay_us {self.max_queue_delay_us}"
        )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to try, and the bounds to respect."""

    latency_ms: float
    concurrency: Sequence[int]
    budget_s: float  # for all of it
    instances: Sequence[int]
    batch: Sequence[int]
    delay_us: Sequence[Delay]
    format: str = "auto"  # of a plan file
    shapes: Sequence[str] = ()  # x:1,3,224,224

    @property
    def latency_target_us(self) -> int:
        return min(max(1, round(self.latency_ms * 1000)), MAX_DELAY_US)


@dataclass(frozen=True)
class Target:
    plan: Path
    stored: StoredEngine  # its options stay as they are, but for those of a Setting
    name: str | None  # what to call it
    in_store: bool = False
    names: tuple[str, ...] = ()  # in the store
    format_told: bool = True  # by the plan's first bytes

    def with_setting(self, setting: Setting, latency_target_us: int, most_waiting: int) -> StoredEngine:
        """Its options with those of the setting, and a queue that holds `most_waiting` requests."""
        stored = self.stored.options
        sizes = read_sizes(stored.preferred_batch_sizes)
        kept = [size for size in sizes if size <= setting.max_batch_size]
        automatic = setting.max_queue_delay_us == AUTO
        options = EngineOptions(
            instances=setting.instances,
            max_batch_size=setting.max_batch_size,
            max_queue_delay_us=setting.max_queue_delay_us,
            latency_target_us=latency_target_us if automatic else stored.latency_target_us,
            preferred_batch_sizes=",".join(map(str, kept)),
            max_queue_size=max(stored.max_queue_size, most_waiting),
        )
        return replace(self.stored, options=options.over(stored))


def find_target(ref: str, settings: Settings, runtime: Runtime, format: str = "auto") -> Target:
    """The plan file at the path `ref`, otherwise the engine of that name or ID in the settings' store.

    `format` is that of a plan file; the store knows that of its engines.

    Raises InvalidInput and Unsupported for a file that is not a plan for this machine, NotFound if there is
    no such file or engine, and Unavailable if it cannot be read.
    """
    path = Path(ref)
    if not path.is_file():
        return _in_store(ref, settings.store)
    head = _head(path)
    chosen = asyncio.run(choose_format(runtime, head, format))
    stored = StoredEngine(
        id=ENGINE_ID,
        digest="",
        format=chosen,
        backend=backend_of(chosen).name,
        options=EngineOptions().decided(settings),
        plan_bytes=path.stat().st_size,
        created="",
    )
    return Target(path, stored, _name(path), format_told=sniff(head).format == chosen)


def _head(plan: Path) -> bytes:
    try:
        with plan.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as failure:
        raise Unavailable(f"The plan {plan} cannot be read: {failure.strerror}.") from failure


def _name(plan: Path) -> str:
    """The file's name, made a valid name of an engine."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", plan.stem)
    return (name if re.match(r"[A-Za-z_]", name) else f"_{name}")[:128]


# -- the store


def _in_store(ref: str, store: Path) -> Target:
    layout = Layout(store)
    path = layout.database
    if not path.is_file():
        raise NotFound(
            f"There is no plan file {ref!r}, and {store} is not a store to find an engine in: it has no "
            f"{path.name}. Give the folder of a server's store with --store, or the path of a plan."
        )
    database = read_only(path)
    try:
        engines, names = database.engines(), database.names()
    finally:
        database.close()
    if not engines:
        raise NotFound(f"There is no plan file {ref!r}, and the store {store} has no engines.")
    lookup = Lookup()
    lookup.show(*map(Engine, engines))
    lookup.rename(names)
    try:
        found = lookup.resolve(ref)
    except NotFound as failure:
        raise NotFound(f"{failure} Nor is there a plan file {ref!r}.") from None
    stored = found.engine.stored
    if stored.damage:
        raise Unavailable(f"Engine {found.engine} cannot be measured: {stored.damage}")
    if stored.plan_digest is None:
        raise Unavailable(f"Engine {found.engine} cannot be measured: it has not been built yet.")
    plan = layout.plan(stored)
    return Target(
        plan,
        stored,
        found.name,
        in_store=True,
        names=tuple(known.name for known in found.engine.names),
        format_told=sniff(_head(plan)).format == Format(stored.format),
    )
