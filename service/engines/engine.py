"""An engine as the registry knows it: what is stored, and its state."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, Self

from runtime_ext import BESIDE, DATATYPES, EngineInfo, TensorSpec
from trtserve.engines.change import Change
from trtserve.engines.progress import Progress
from trtserve.errors import Conflict
from trtserve.formats.format import Format
from trtserve.options.batching import AUTO, NEVER, read_dims
from trtserve.options.engine_options import EngineOptions
from trtserve.options.labels import read_labels
from trtserve.store.database import StoredEngine
from trtserve.store.measure import Measure

WITHOUT_LOAD = frozenset({"labels", "residency"})
"""Options that only this process reads: a loaded engine changes them as it is."""


class State(StrEnum):
    BUILDING = "BUILDING"  # its plan is being built from a model
    LOADING = "LOADING"  # being loaded
    READY = "READY"  # takes requests
    DRAINING = "DRAINING"  # removed or unloaded; finishes the requests that it had accepted
    DORMANT = "DORMANT"  # kept, but not resident: the next request loads it
    UNLOADED = "UNLOADED"  # kept, but not resident, until somebody loads it
    FAILED = "FAILED"  # kept, but could not be loaded again; `reason` says why


class EngineName(NamedTuple):
    """A version that points to the engine; `current`: the one that its name stands for."""

    name: str
    version: int
    current: bool


@dataclass
class Past:
    """What is known of an engine from all of its lives, those before a restart included."""

    memory: dict[str, dict[str, int]] = field(
        default_factory=dict
    )  # as it was measured last; see Runtime.memory
    cold_start_seconds: float | None = None  # of its last load for a request, with the wait for memory
    name: str | None = None  # under which it was loaded last in this process
    change: Change | None = None  # of its options: the last that was asked for in this process

    @classmethod
    def of(cls, stored: StoredEngine) -> Self:
        """What the store has kept from before the start."""
        kept = stored.measured
        return cls(dict(kept.memory), kept.cold_start_seconds) if kept is not None else cls()

    @property
    def measure(self) -> Measure | None:
        """What the store is to keep; None: it was not loaded yet."""
        if not self.memory:
            return None
        return Measure(memory=self.memory, cold_start_seconds=self.cold_start_seconds)


@dataclass(eq=False)
class Engine:
    """One life of an engine; the next load begins another. Belongs to the event loop and the registry."""

    stored: StoredEngine
    state: State = State.LOADING
    reason: str | None = None  # of FAILED, and of LOADING where its load is tried again
    info: EngineInfo | None = None  # once loaded
    load_seconds: float | None = None  # once loaded
    metadata: dict[str, Any] | None = None  # once loaded, where the plan has any
    names: tuple[EngineName, ...] = ()
    kept: bool = True  # it has a row in the store: a restart knows it
    progress: Progress | None = None  # of the build of its plan in this life
    is_beside: bool = False  # another life of it serves
    past: Past = field(default_factory=Past)  # the lives of an engine share it, see Lookup.show
    moving: bool = False  # LOADING or DRAINING, between DORMANT and READY
    may_evict: bool = True  # its load may evict others
    wanted: Callable[[], bool] = lambda: True  # False once nobody waits for its load
    asks: Callable[["Engine"], None] = lambda engine: None  # told when its load asks for memory, or builds

    @property
    def id(self) -> int:
        return self.stored.id

    @property
    def place(self) -> int:
        """Where it is in the runtime: its ID or, while another life of it serves there, beside it."""
        return self.id | BESIDE if self.is_beside else self.id

    @property
    def digest(self) -> str:
        return self.stored.digest

    @property
    def format(self) -> str:
        return self.stored.format

    @property
    def is_module(self) -> bool:
        """True if it is a TorchScript module, which may call other engines."""
        return self.stored.format == Format.TORCHSCRIPT

    @property
    def calls(self) -> tuple[int, ...]:
        """The IDs of the engines that a module calls, once it has been inspected."""
        return self.stored.uses.engines if self.stored.uses is not None else ()

    @property
    def backend(self) -> str:
        return self.stored.backend

    @property
    def loaded(self) -> EngineInfo:
        """What a load found out; every READY engine has it."""
        assert self.info is not None, "a READY engine has been loaded"
        return self.info

    @property
    def wakes(self) -> bool:
        """True if a request may wait for it: it is being loaded for one, or will be."""
        return self.state is State.DORMANT or self.moving

    @property
    def most_items(self) -> int:
        """The most items that requests are joined into, once it is loaded; 1: they are not joined."""
        options = self.stored.options
        if options.max_queue_delay_us == NEVER:
            return 1
        return self.loaded.max_batch_size if options.max_batch_size == AUTO else options.max_batch_size

    @property
    def joins_first(self) -> bool:
        """True if requests are joined along dimension 0 of every tensor."""
        return self.most_items > 1 and not any(read_dims(self.stored.options.batch_dims).values())

    @property
    def has_batch(self) -> bool:
        """True if dimension 0 of every tensor is the batch, as where Triton has a max_batch_size."""
        if self.joins_first:
            return True
        specs = (*self.loaded.inputs, *self.loaded.outputs)
        apart = self.stored.options.max_queue_delay_us == NEVER
        return apart and all(spec.shape and spec.shape[0] == -1 for spec in specs)

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """By the name of an output, what its classes are called."""
        return read_labels(self.stored.options.labels)

    @cached_property
    def most_input_bytes(self) -> int | None:
        """The most bytes that the inputs of a request can have; None if a shape has no bound."""
        sizes = [_most_bytes(spec) for spec in self.loaded.inputs]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def why_not_ready(self) -> str:
        """A sentence for the person whose request this engine cannot accept now."""
        match self.state:
            case State.BUILDING:
                return (
                    f"Engine {self} is being built ({self.progress}): try again when GET /engines/{self.id} "
                    "says that it is READY."
                )
            case State.LOADING:
                if self.reason:
                    return f"Engine {self} is not loaded yet, and is tried again: {self.reason}"
                return f"Engine {self} is still loading: try again soon."
            case State.DRAINING:
                return f"Engine {self} is being removed or unloaded."
            case State.DORMANT:
                return f"Engine {self} is not resident: the next request loads it."
            case State.UNLOADED:
                ref = self.names[0].name if self.names else self.id
                return f"Engine {self} is unloaded: load it with POST /v2/repository/models/{ref}/load."
            case _:
                return f"Engine {self} could not be loaded: {self.reason}"

    def is_promised(self, name: str | None) -> bool:
        """True if its build will go on after a restart, and the name, if there is one, will point to it."""
        build = self.stored.build
        if build is None or self.state is not State.BUILDING or not self.kept:
            return False
        return name in {None, build.name, *(known.name for known in self.names)}

    def check_same_plan(self, wanted: StoredEngine) -> None:
        """Raise Conflict if a plan has this engine's ID but different bytes."""
        # A damaged row may have lost its digest.
        if self.digest != wanted.digest and not self.stored.damage:
            raise Conflict(
                f"Another plan (SHA-256 {self.digest}) has the engine ID {self.id} that this one "
                f"({wanted.digest}) would have: an ID is the first 52 bits of the digest. Remove that "
                "engine, or build this plan again, which changes its bytes."
            )

    def others(self, asked: EngineOptions) -> list[tuple[str, object]]:
        """The options that are asked for, need a load, and differ from this engine's, by their names."""
        # "auto" and 0 are stored as asked; info has the values chosen for them, which may be asked for too.
        stored = self.stored.options
        return [
            (option, value)
            for option, value in asked.over(stored)
            if option not in WITHOUT_LOAD
            and value not in {getattr(stored, option), getattr(self.info, option, None)}
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.names[0].name})" if self.names else str(self.id)


def _most_bytes(spec: TensorSpec) -> int | None:
    if spec.shape is None or spec.datatype not in DATATYPES:  # strings have any length
        return None
    shapes = [profile.max for profile in spec.profiles] or [spec.shape]
    if any(dim < 0 for shape in shapes for dim in shape):
        return None
    return max(map(math.prod, shapes)) * DATATYPES[spec.datatype]


class Resolved(NamedTuple):
    """What a reference in a URL (an engine ID or a name) stands for now."""

    engine: Engine
    name: str | None
    version: int | None

    def is_like(self, other: Self) -> bool:
        """True if it is the same engine, in whichever life, under the same name and version."""
        return (self.engine.id, self.name, self.version) == (other.engine.id, other.name, other.version)

    @property
    def model_name(self) -> str:
        """What the Open Inference Protocol calls it: its name, or without one its ID."""
        return self.name or str(self.engine.id)

    @property
    def model_version(self) -> str:
        """The version that the Open Inference Protocol reports; 1 for an engine without a name."""
        return str(self.version or 1)
