"""Finds out, by running an engine, whether its requests may be joined: whether rows depend on other rows.

Nothing in a plan says so. Two requests of random values are run alone and joined, in both orders: each must
get the rows that it gets alone. A model that mixes rows (a mean, a softmax or a sort over the batch), keeps
state, or has random outputs does not pass; nor does one for which this cannot be told.

An execution may crash, or never end: run this in a process of its own (trial.py).
"""

import math
import random
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from runtime_ext import string_arrays
from runtime_ext._C import DATATYPES, EngineInfo, Output, Runtime, ShapeRange, TensorSpec
from runtime_ext.numpy_types import STORED

Array = np.ndarray[Any, Any]
Execute = Callable[[Sequence[Array]], Sequence[Array]]

BUDGET_S = 2.0  # after which no further execution begins
# The executions that are left after the first two, each as long as one of those: a batch may cost as much as
# its items.
EXECUTIONS = 10
MOST_BYTES = 64 * 1024**2  # of the inputs, and of the inputs and outputs of a batch
OPEN_DIMS = (32, 8, 224, 1)  # tried for a dimension that is not the batch and has no bound
LARGE = 5  # requests of the largest batch that is tried

# How far a row may be from what the request gets alone: a share of the difference between the two requests,
# and a share of the output's greatest value, for rounding.
NEAR = 0.02
ROUNDING, COARSE_ROUNDING = 3e-5, 5e-3


class Unsafe(Exception):
    """Requests must not be joined; str() says why, without a full stop."""


class Shapes(NamedTuple):
    """The inputs of one request, which has `items` items."""

    items: int
    most: int  # items of a batch
    inputs: list[list[int]]


def why_not_joined(
    runtime: Runtime,
    info: EngineInfo,
    batch_dims: Mapping[str, int],
    *,
    coarse: bool,
    execute: Execute | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Why requests of the engine must not be joined; empty: they may be. Blocks, mostly for milliseconds.

    Nobody else may submit to the runtime meanwhile, which takes its completions. `info.max_batch_size` bounds
    the batches, `batch_dims` is as in BatchOptions, and `coarse` says that the engine computes with less than
    32 bits. `execute` runs the engine; only tests give one.
    """
    run = execute or _Requests(runtime, info)
    try:
        _Check(info, batch_dims, coarse or info.device != "cpu", run, clock).check()
    except Unsafe as why:
        return str(why)
    return ""


class _Requests:
    """Runs requests of an engine, one at a time. Called with its inputs, it returns its outputs, in their
    order; raises RuntimeError if the request fails."""

    def __init__(self, runtime: Runtime, info: EngineInfo) -> None:
        self._runtime = runtime
        self._info = info

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        specs = self._info.inputs
        told = [
            (spec.name, spec.datatype, list(array.shape)) for spec, array in zip(specs, inputs, strict=True)
        ]
        data = tuple(_as_bytes(array, spec.datatype) for array, spec in zip(inputs, specs, strict=True))
        try:
            ticket = self._runtime.submit(self._runtime.prepare(self._info.id, told), data)
        except Exception as refused:  # an Error of the seam, which is no RuntimeError
            raise RuntimeError(str(refused)) from refused
        while True:
            for completion in self._runtime.take_completions():
                if completion.ticket != ticket:
                    continue
                if completion.kind is not None:
                    raise RuntimeError(completion.message)
                return [_as_array(output) for output in completion.outputs]
            select.select([self._runtime.completion_fd()], [], [])


class _Check:
    def __init__(
        self,
        info: EngineInfo,
        batch_dims: Mapping[str, int],
        coarse: bool,
        execute: Execute,
        clock: Callable[[], float],
    ) -> None:
        self._info = info
        self._in_dims = [batch_dims.get(spec.name, 0) for spec in info.inputs]
        self._out_dims = [batch_dims.get(spec.name, 0) for spec in info.outputs]
        self._rounding = COARSE_ROUNDING if coarse else ROUNDING
        self._execute = execute
        self._clock = clock
        self._ends = clock() + BUDGET_S
        self._seconds = 0.0  # that the last execution took

    def check(self) -> None:
        """Raise Unsafe for the first thing that is wrong."""
        candidates = [shapes for dim in OPEN_DIMS for shapes in _possible(self._info, self._in_dims, dim)]
        if not candidates:
            raise Unsafe("its profiles take no batch of two requests")
        failed = ""
        alike = False
        for number, shapes in enumerate(candidates):
            for attempt in range(3):
                numbers = random.Random(100 * number + attempt)
                one, two = (
                    [_values(numbers, *each, attempt) for each in self._each(shapes)] for _ in range(2)
                )
                try:
                    single = [self._run(one, shapes.items), self._run(two, shapes.items)]
                except RuntimeError as failure:
                    failed = str(failure).partition("\n")[0]
                    continue
                if _equal(*single):
                    alike = True
                    continue
                self._compare(shapes, (one, two), single)
                return
        if alike:
            raise Unsafe(
                "its outputs were the same for different random inputs, so that the check tells nothing"
            )
        raise Unsafe(f"it could not be run with random inputs for the check ({failed})")

    def _each(self, shapes: Shapes) -> list[tuple[TensorSpec, list[int]]]:
        return list(zip(self._info.inputs, shapes.inputs, strict=True))

    def _compare(
        self, shapes: Shapes, requests: tuple[list[Array], list[Array]], single: list[list[Array]]
    ) -> None:
        """Run the requests again, alone and joined."""
        request_bytes = sum(string_arrays.size(array) for array in (*requests[0], *single[0]))
        if 2 * request_bytes > MOST_BYTES:
            raise Unsafe(
                f"two requests have {2 * request_bytes / 1e6:.0f} MB, which is too much for the check"
            )
        if self._clock() + EXECUTIONS * self._seconds > self._ends:
            raise self._too_slow()
        try:
            again = self._run(requests[0], shapes.items)
            for index, part in enumerate(again):
                if not self._near(part, single[0][index], single, index):
                    raise Unsafe(f"output {self._out(index)} differs between two runs with the same input")
            orders: list[tuple[int, ...]] = [(0, 1), (1, 0)]
            if LARGE * shapes.items <= shapes.most:
                orders.append((1, 0, 1, 1, 0))
            for order in orders:
                if request_bytes * len(order) > MOST_BYTES:
                    break
                self._compare_joined(shapes, requests, single, order)
        except RuntimeError as failure:
            raise Unsafe(
                f"it failed when requests were joined ({str(failure).partition(chr(10))[0]})"
            ) from failure

    def _compare_joined(
        self,
        shapes: Shapes,
        requests: tuple[list[Array], list[Array]],
        single: list[list[Array]],
        order: tuple[int, ...],
    ) -> None:
        inputs = [
            np.concatenate([requests[which][index] for which in order], axis=dim)
            for index, dim in enumerate(self._in_dims)
        ]
        outputs = self._run(inputs, shapes.items * len(order))
        for index, output in enumerate(outputs):
            parts = np.split(output, len(order), axis=self._out_dims[index])
            for part, which in zip(parts, order, strict=True):
                if not self._near(part, single[which][index], single, index):
                    raise Unsafe(
                        f"output {self._out(index)} of a request depends on those that it is joined with"
                    )

    def _run(self, inputs: Sequence[Array], items: int) -> list[Array]:
        """The outputs, each with as many items; RuntimeError if the execution fails."""
        if self._clock() > self._ends:
            raise self._too_slow()
        began = self._clock()
        outputs = list(self._execute(inputs))
        self._seconds = self._clock() - began
        for index, output in enumerate(outputs):
            dim = self._out_dims[index]
            if dim >= output.ndim or output.shape[dim] != items:
                raise Unsafe(
                    f"output {self._out(index)} has shape {list(output.shape)} for {items} items, and not "
                    f"one for each in dimension {dim}"
                )
        return outputs

    def _near(self, part: Array, alone: Array, single: list[list[Array]], index: int) -> bool:
        if part.shape != alone.shape or part.dtype != alone.dtype:
            return False
        if part.dtype.kind != "f":
            return bool(np.array_equal(part, alone))
        one, two = single[0][index], single[1][index]
        with np.errstate(all="ignore"):
            greatest = max(float(np.abs(each[np.isfinite(each)]).max(initial=0)) for each in (one, two))
            spread = np.nan_to_num(np.abs(one - two), nan=0.0, posinf=0.0) if one.shape == two.shape else 0.0
            near = np.abs(part - alone) <= NEAR * spread + self._rounding * greatest
        return bool(np.all(near | (part == alone) | (np.isnan(part) & np.isnan(alone))))

    def _out(self, index: int) -> str:
        return f"'{self._info.outputs[index].name}'"

    def _too_slow(self) -> Unsafe:
        return Unsafe(f"its executions take too long for the check, which has {BUDGET_S:g} s")


def _possible(info: EngineInfo, batch_dims: Sequence[int], open_dim: int) -> list[Shapes]:
    """For each profile that takes two requests, the shapes of one request."""
    profiles = max((len(spec.profiles) for spec in info.inputs), default=0)
    found = []
    for number in range(max(profiles, 1)):
        least, most = 1, info.max_batch_size
        inputs = []
        for spec, batch_dim in zip(info.inputs, batch_dims, strict=True):
            assert spec.shape is not None, "an input of unknown rank is not joined"
            profile = spec.profiles[number] if number < len(spec.profiles) else _any(spec.shape)
            least = max(least, profile.min[batch_dim])
            most = min(most, profile.max[batch_dim]) if profile.max[batch_dim] >= 0 else most
            inputs.append(_one_shape(profile, open_dim))
        if 2 * least > most:
            continue
        for dims, batch_dim in zip(inputs, batch_dims, strict=True):
            dims[batch_dim] = least
        found.append(Shapes(least, most, inputs))
    return found


class _Range(NamedTuple):
    min: list[int]
    opt: list[int]
    max: list[int]


def _any(shape: list[int]) -> _Range:
    lows = [max(dim, 1) for dim in shape]
    return _Range(lows, lows, shape)


def _one_shape(profile: ShapeRange | _Range, open_dim: int) -> list[int]:
    """The best shape; `open_dim`, within what is allowed, where there is no greatest."""
    return [
        max(low, open_dim) if high < 0 else best
        for low, best, high in zip(profile.min, profile.opt, profile.max, strict=True)
    ]


def _values(numbers: random.Random, spec: TensorSpec, dims: list[int], attempt: int) -> Array:
    """Random values that most models take: other ones with each attempt."""
    if spec.datatype == "BYTES":
        if math.prod(dims) > string_arrays.MOST:
            raise Unsafe(f"input '{spec.name}' of shape {dims} has too many strings for the check")
        return string_arrays.made_up(numbers, dims, attempt)
    is_bf16 = spec.datatype == "BF16"  # its values are floats here, and narrowed for the engine
    dtype = np.dtype(np.float32) if is_bf16 else STORED[spec.datatype]
    count = math.prod(dims)
    if 2 * count * DATATYPES[spec.datatype] > MOST_BYTES:
        raise Unsafe(f"input '{spec.name}' of shape {dims} is too large for the check")
    if dtype.kind == "f":
        values = _uniform(numbers, count)
        if attempt == 0:  # nearly normal: mean 0, variance 1
            values = sum((_uniform(numbers, count) for _ in range(3)), values - 2) * math.sqrt(3)
        values = values * (1, 1, 255)[attempt]
        if is_bf16:
            values = _widened(_narrowed(values.astype(np.float32)))
        return values.astype(dtype).reshape(dims)
    below = 2 if dtype.kind == "b" else (8, 2, 100)[attempt]
    return (np.frombuffer(numbers.randbytes(count), np.uint8) % below).astype(dtype).reshape(dims)


def _uniform(numbers: random.Random, count: int) -> Array:
    return np.frombuffer(numbers.randbytes(4 * count), np.uint32).astype(np.float32) / np.float32(2**32)


def _as_bytes(array: Array, datatype: str) -> Array | bytes:
    """The data of an input, as the seam takes it."""
    if datatype == "BYTES":
        return string_arrays.packed(array)
    return np.ascontiguousarray(_narrowed(array) if datatype == "BF16" else array)


def _as_array(output: Output) -> Array:
    """An output; floats of less than 32 bits as floats of 32, to compute with."""
    if output.datatype == "BYTES":
        return string_arrays.unpacked(memoryview(output), output.shape)
    array: Array = np.frombuffer(memoryview(output), STORED[output.datatype]).reshape(output.shape)
    if output.datatype == "FP16":
        return array.astype(np.float32)
    return _widened(array) if output.datatype == "BF16" else array


def _narrowed(values: Array) -> Array:
    """Floats as BF16, rounded towards 0."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _widened(values: Array) -> Array:
    return (values.astype(np.uint32) << 16).view(np.float32)


def _equal(one: list[Array], two: list[Array]) -> bool:
    return all(
        a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(one, two, strict=True)
    )
