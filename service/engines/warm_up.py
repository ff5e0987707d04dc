"""The executions that warm an engine up before its first request."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

from runtime_ext import EngineInfo, Error, Runtime, ShapeRange, TensorSpec
from trtserve.engines.engine import Engine
from trtserve.errors import InvalidInput, Unavailable
from trtserve.options.batching import read_dims, read_sizes
from trtserve.options.engine_options import EngineOptions
from trtserve.options.warm_up import AUTO, OFF, Shapes, read_shapes
from trtserve.settings import Settings

logger = logging.getLogger(__name__)

MOST = 16  # executions that nobody asked for: as many graphs as an instance keeps

Execution = list[tuple[list[int], list[int]]]
"""The shape of each input, and the values of one whose values decide shapes."""


class WarmUps:
    """Belongs to the event loop; what runs, runs in a thread."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._most_s = settings.warm_up_s
        self._hangs_after_s = settings.load_timeout_s

    async def run(self, engine: Engine, shown: str) -> None:
        """Warm an engine up that has just been loaded, as its options say.

        Raises InvalidInput for inputs that the engine does not take, and Unavailable if an execution does not
        end. One that fails only costs the warm-up, since requests may have better inputs.
        """
        asked = engine.stored.options.warm_up
        wanted = executions(engine.loaded, engine.stored.options, engine.most_items)
        if not wanted or self._most_s == 0:
            return
        began = time.perf_counter()
        running = asyncio.to_thread(self._runtime.warm_up, engine.place, wanted, self._most_s)
        try:
            ran = await asyncio.wait_for(running, self._hangs_after_s)
        except TimeoutError:
            raise Unavailable(
                f"An execution that warms engine {engine} up took longer than {self._hangs_after_s:g} s, and "
                "the load was given up: load it with warm_up=off, or start the server with a higher "
                "--load-timeout-s."
            ) from None
        except Error as failure:
            if asked != AUTO and failure.kind == "InvalidInput":
                raise
            logger.warning("engine %s: is not warm: %s", shown, failure)
            return
        if ran:
            seconds = time.perf_counter() - began
            logger.info("engine %s: warmed up with %d executions in %.2f s", shown, ran, seconds)


def executions(info: EngineInfo, options: EngineOptions, most_items: int) -> list[Execution]:
    """What the option warm_up asks for of a loaded engine; empty if it is off.

    `most_items`: that requests are joined into. InvalidInput if the option names inputs that the engine does
    not have, or too few.
    """
    if options.warm_up == OFF:
        return []
    if options.warm_up == AUTO:
        return _own(info, options, most_items)
    return [_asked(info.inputs, shapes) for shapes in read_shapes(options.warm_up)]


def _asked(inputs: Sequence[TensorSpec], shapes: Shapes) -> Execution:
    names = [spec.name for spec in inputs]
    unknown = sorted(shapes.keys() - set(names))
    if unknown:
        raise InvalidInput(
            f"warm_up names the input {unknown[0]!r}; the engine has {', '.join(map(repr, names)) or 'none'}."
        )
    execution: Execution = []
    for spec in inputs:
        shape = shapes.get(spec.name, spec.shape)
        if shape is None or min(shape, default=0) < 0:
            raise InvalidInput(
                f"warm_up does not name the input {spec.name!r}, whose shape is not fixed: give each such "
                "input a shape, or leave warm_up out."
            )
        execution.append((shape, spec.values[0].opt if spec.values else []))
    return execution


def _own(info: EngineInfo, options: EngineOptions, most_items: int) -> list[Execution]:
    """The shapes that each profile is best for and, where requests are joined, those of likely batches."""
    found: list[Execution] = []
    for profile in range(max((len(spec.profiles) for spec in info.inputs), default=0) or 1):
        best = _best(info.inputs, profile)
        if best is None:
            continue
        batches = [best]
        if most_items > 1:
            dims = read_dims(options.batch_dims)
            sizes = [*_powers(most_items), *read_sizes(options.preferred_batch_sizes), most_items]
            batches += [_with_items(info.inputs, best, dims, size) for size in sorted(set(sizes))]
        for one in batches:
            if one not in found and _fits(info.inputs, one, profile):
                found.append(one)
    return found[:MOST]


def _best(inputs: Sequence[TensorSpec], profile: int) -> Execution | None:
    """None if the engine does not say which shapes are good."""
    execution: Execution = []
    for spec in inputs:
        range = _range(spec.profiles, profile)
        shape = range.opt if range is not None else spec.shape
        if shape is None or min(shape, default=0) < 0:
            return None
        values = _range(spec.values, profile)
        execution.append((list(shape), list(values.opt) if values is not None else []))
    return execution


def _with_items(inputs: Sequence[TensorSpec], best: Execution, dims: dict[str, int], size: int) -> Execution:
    batch: Execution = []
    for spec, (shape, values) in zip(inputs, best, strict=True):
        dim = dims.get(spec.name, 0)
        batch.append(([*shape[:dim], size, *shape[dim + 1 :]] if dim < len(shape) else shape, values))
    return batch


def _fits(inputs: Sequence[TensorSpec], execution: Execution, profile: int) -> bool:
    for spec, (shape, _) in zip(inputs, execution, strict=True):
        range = _range(spec.profiles, profile)
        if range is None:
            continue
        for least, dim, greatest in zip(range.min, shape, range.max, strict=True):
            if dim < least or 0 <= greatest < dim:
                return False
    return True


def _range(ranges: Sequence[ShapeRange], profile: int) -> ShapeRange | None:
    return ranges[min(profile, len(ranges) - 1)] if ranges else None


def _powers(most: int) -> Iterable[int]:
    size = 1
    while size < most:
        yield size
        size *= 2
