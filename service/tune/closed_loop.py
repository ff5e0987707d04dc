"""A closed loop of requests: a fixed number is always outstanding, from one thread, on one eventfd."""

import math
import select
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime_ext import Completion, EngineInfo, Error, Prepared, Runtime, TensorSpec
from trtserve.codec.datatypes import DATATYPES
from trtserve.errors import InvalidInput, TrtserveError, of_kind

LEAD_IN = 0.5
"""Of a measurement's seconds, before it. They do not count: the load is not yet steady, and the engine may
make something of the first batches of a size."""

Clock = Callable[[], float]
"""Returns seconds, counted from any starting point."""


@dataclass(frozen=True)
class Sample:
    """What one measurement found."""

    throughput: float  # items a second
    p50_ms: float  # of the time from a request's arrival at the queue to the end of its execution
    p99_ms: float
    mean_batch: float  # requests an execution
    seconds: float = 0.0  # that were measured


class Request(NamedTuple):
    """The request that the loop sends repeatedly."""

    tensors: list[tuple[str, str, list[int]]]  # name, datatype, shape: what Runtime.prepare takes
    data: tuple[npt.NDArray[Any], ...]
    items: int


# -- what is sent


def request_for(
    info: EngineInfo, batch_dims: Mapping[str, int], given: Mapping[str, Sequence[int]]
) -> Request:
    """A request of one item, or of the fewest that a profile takes; its data is random, but always the same.

    Other dynamic dimensions are that profile's best, or 1 without a profile; `given` has whole shapes by
    input. Raises InvalidInput for a shape of an unknown input, and for a missing shape. The engine may still
    refuse the request.
    """
    names = [spec.name for spec in info.inputs]
    for name in given:
        if name not in names:
            raise InvalidInput(
                f"The engine has no input {name!r}; its inputs are {', '.join(names) or 'none'}."
            )
    profile = _smallest_profile(info, batch_dims)
    random = np.random.default_rng(0)
    tensors, data = [], []
    for spec in info.inputs:
        dim = batch_dims.get(spec.name, 0)
        shape = list(given[spec.name]) if spec.name in given else _shape(spec, profile, dim)
        tensors.append((spec.name, spec.datatype, shape))
        data.append(_values(spec, profile, shape, random))
    return Request(tensors, tuple(data), _items(info, tensors, batch_dims))


def _smallest_profile(info: EngineInfo, batch_dims: Mapping[str, int]) -> int:
    """The index of the profile that allows the fewest items."""
    for spec in info.inputs:
        dim = batch_dims.get(spec.name, 0)
        least = [profile.min[dim] for profile in spec.profiles if dim < len(profile.min)]
        if least:
            return least.index(min(least))
    return 0


def _shape(spec: TensorSpec, index: int, batch_dim: int) -> list[int]:
    if spec.shape is None:
        raise InvalidInput(
            f"Input {spec.name!r} has an unknown rank: give its shape with --shape {spec.name}:1,…"
        )
    profile = spec.profiles[index] if index < len(spec.profiles) else None
    shape = []
    for place, dim in enumerate(spec.shape):
        if dim >= 0:
            shape.append(dim)
        elif profile is None:
            shape.append(1)
        else:
            shape.append(max(1, (profile.min if place == batch_dim else profile.opt)[place]))
    return shape


def _values(
    spec: TensorSpec, profile: int, shape: Sequence[int], random: np.random.Generator
) -> npt.NDArray[Any]:
    """Floats from 0 to 1, or integers 0 and 1, which also work as indices and masks."""
    if spec.datatype not in DATATYPES:
        raise InvalidInput(f"Input {spec.name!r} is {spec.datatype}: strings cannot be made up.")
    datatype = DATATYPES[spec.datatype]
    dtype = datatype.numpy
    if profile < len(spec.values):
        return np.resize(np.array(spec.values[profile].opt), shape).astype(dtype)
    if datatype.greatest is None:
        return np.asarray(random.integers(0, 2, shape)).astype(dtype)
    floats = np.asarray(random.random(shape, np.float32))
    if spec.datatype == "BF16":
        return (floats.view(np.uint32) >> 16).astype(dtype)  # numpy lacks it: the upper half of each
    return floats.astype(dtype, copy=False)


def _items(
    info: EngineInfo, tensors: Sequence[tuple[str, str, list[int]]], batch_dims: Mapping[str, int]
) -> int:
    """The first input's length along its batch dimension if that is dynamic; otherwise 1."""
    for spec, (name, _, shape) in zip(info.inputs, tensors, strict=True):
        dim = batch_dims.get(name, 0)
        dynamic = spec.shape is None or (dim < len(spec.shape) and spec.shape[dim] < 0)
        return shape[dim] if dynamic and dim < len(shape) else 1
    return 1


# -- how it is sent


class ClosedLoop:
    """Sends a prepared request on a runtime that has no other user. Blocks; for one thread."""

    def __init__(self, runtime: Runtime, prepared: Prepared, request: Request, clock: Clock) -> None:
        self._runtime = runtime
        self._prepared = prepared
        self._request = request
        self._clock = clock
        self._outstanding = 0
        self._poll = select.poll()
        self._poll.register(runtime.completion_fd(), select.POLLIN)

    def measure(self, concurrency: int, seconds: float) -> Sample:
        """Keep `concurrency` requests outstanding for a lead-in and then `seconds`, then drain them.

        Raises the error of a failed request, and what submit() raises.
        """
        try:
            self._submit(concurrency)
            self._keep_up(seconds * LEAD_IN)
            ended, elapsed = self._keep_up(seconds)
        except (Error, TrtserveError):
            self._drain()
            raise
        self._drain()
        return sample(ended, elapsed, self._request.items)

    def _keep_up(self, seconds: float) -> tuple[list[tuple[int, int]], float]:
        """(latency in ns, requests of its execution) of each request that ended, and the seconds they took.

        It begins and ends with completions, so that it spans whole executions: at least one, however long.
        """
        began = self._clock()
        ended: list[tuple[int, int]] = []
        while True:
            taken = self._take()
            for completion in taken:
                if completion.kind is not None:
                    raise of_kind(completion.kind, completion.message)
            self._submit(len(taken))  # first, so that the engine does not wait for the bookkeeping
            ended += [(c.queue_ns + c.compute_ns, c.batch_requests) for c in taken]
            elapsed = self._clock() - began
            if taken and elapsed >= seconds:
                return ended, elapsed

    def _submit(self, count: int) -> None:
        for _ in range(count):
            self._runtime.submit(self._prepared, self._request.data)
            self._outstanding += 1

    def _take(self) -> list[Completion]:
        self._poll.poll()
        taken = self._runtime.take_completions()
        self._outstanding -= len(taken)
        return taken

    def _drain(self) -> None:
        while self._outstanding:
            self._take()


def sample(ended: Sequence[tuple[int, int]], seconds: float, items: int) -> Sample:
    """The Sample from (latency in ns, requests of its execution) of each ended request of `items` items."""
    latencies = sorted(ns for ns, _ in ended)
    return Sample(
        throughput=len(ended) * items / seconds,
        p50_ms=_percentile(latencies, 0.50) / 1e6,
        p99_ms=_percentile(latencies, 0.99) / 1e6,
        mean_batch=len(ended) / sum(1 / max(1, requests) for _, requests in ended),
        seconds=seconds,
    )


def _percentile(ascending: Sequence[int], share: float) -> int:
    """The percentile by nearest rank, so a value that occurred."""
    return ascending[math.ceil(share * len(ascending)) - 1]
