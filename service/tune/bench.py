"""Measures one setting after the other: an engine is loaded with it, and a closed loop of requests runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

from runtime_ext import EngineInfo, Error, Runtime
from trtserve.client.random_inputs import read_shape
from trtserve.engines.seam_options import load_options
from trtserve.formats.backends import runtime_backend
from trtserve.options.batching import read_dims
from trtserve.tune.closed_loop import Clock, ClosedLoop, Request, Sample, request_for
from trtserve.tune.target import Asked, Setting, Target


class Bench(Protocol):
    """Measures one setting after the other."""

    closing_loads: int
    """Loads that follow the last measurement, and belong to the budget."""

    def loaded(self, setting: Setting) -> AbstractContextManager[float]:
        """Load the engine with the setting while the context is entered; yields the load's seconds."""

    def measure(self, concurrency: int, seconds: float) -> Sample:
        """Within loaded()."""


class Examined(NamedTuple):
    """What a first load showed of an engine."""

    most_items: int | None  # the largest batch that it takes; None: they have no bound
    why_unbatched: str | None  # why it cannot be batched, if it cannot
    load_seconds: float


class EngineBench:
    """A Bench of a real engine. Its `request` must be set before it measures."""

    closing_loads = 0

    def __init__(self, runtime: Runtime, target: Target, asked: Asked, clock: Clock) -> None:
        self._runtime = runtime
        self._target = target
        self._asked = asked
        self._clock = clock
        self._loop: ClosedLoop | None = None
        self.request: Request | None = None

    @contextmanager
    def loaded(self, setting: Setting) -> Iterator[float]:
        began = self._clock()
        info = self._load(setting)
        try:
            yield self._clock() - began
        finally:
            self._loop = None
            self._runtime.unload(info.id, 0.0)

    def measure(self, concurrency: int, seconds: float) -> Sample:
        if self._loop is None:
            assert self.request is not None
            prepared = self._runtime.prepare(self._target.stored.id, self.request.tensors)
            self._loop = ClosedLoop(self._runtime, prepared, self.request, self._clock)
        return self._loop.measure(concurrency, seconds)

    def examine(self, shapes: Sequence[str]) -> Examined:
        """Find the request to send, and what the engine takes.

        Raises the errors of a load, and InvalidInput for shapes that the engine does not accept.
        """
        id = self._target.stored.id
        dims = read_dims(self._target.stored.options.batch_dims)
        unbatched = Setting(min(self._asked.instances), 1, 0)
        given = dict(map(read_shape, shapes))
        reason = None
        began = self._clock()
        try:
            info = self._load(Setting(unbatched.instances, max(self._asked.batch), 0))
        except Error as failure:
            if failure.kind != "InvalidInput" or max(self._asked.batch) == 1:
                raise
            began = self._clock()
            info = self._load(unbatched)  # where this fails too, it was not for the batches
            reason = str(failure)
        seconds = self._clock() - began
        try:
            self.request = request_for(info, dims, given)
            self._runtime.prepare(id, self.request.tensors)
        finally:
            self._runtime.unload(id, 0.0)
        return Examined(1 if reason else most_items(info, dims), reason, seconds)

    def _load(self, setting: Setting) -> EngineInfo:
        stored = self._target.with_setting(
            setting, self._asked.latency_target_us, max(self._asked.concurrency)
        )
        plan = self._target.plan.absolute()
        backend = runtime_backend(stored.backend, plan, self._runtime.backends())
        return self._runtime.load(stored.id, str(plan), backend, load_options(stored.options))


def most_items(info: EngineInfo, batch_dims: Mapping[str, int]) -> int | None:
    """The largest batch that any profile accepts; None if they have no bound."""
    bounds = []
    for spec in info.inputs:
        dim = batch_dims.get(spec.name, 0)
        largest = [profile.max[dim] for profile in spec.profiles if dim < len(profile.max)]
        if largest and min(largest) >= 0:
            bounds.append(max(1, *largest))
    return min(bounds, default=None)
