"""Runs the hostile cases of some seeds in this process, which they may end, and reports each."""

import ctypes
import json
import resource
import select
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from runtime_ext import Error, LoadOptions, Runtime
from tests.hostile.seeds import Seed
from tests.hostile.values import hostile
from tests.seam.conftest import OIP, to_numpy
from tests.submitting import submit

ADDRESS_SPACE = 12 * 1024**3
MUCH_MEMORY = 1024**2  # KiB
M_PERTURB = -6
POISONS = (0x5A, 0xA5)


def run(runtime: Runtime, seeds: Sequence[Seed], skip: Collection[tuple[str, str]], out: IO[str]) -> None:
    """Run every case except those in `skip`, which are (seed, case); write one JSON list per line."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds, 1):
            path = Path(folder) / f"{number}.onnx"
            path.write_bytes(seed.model.SerializeToString())
            _report(out, "begin", seed.name, "load")
            if (seed.name, "load") in skip:
                continue
            try:
                runtime.load(number, str(path), "openvino", LoadOptions(instances=1, threads=1))
            except Error as error:
                _report(out, "end", seed.name, "load", f"refused {error.kind}", str(error))
                continue
            _report(out, "end", seed.name, "load", "fine", "")
            _run_cases(runtime, number, seed, skip, out)
            runtime.unload(number, 0)


def _run_cases(
    runtime: Runtime, engine: int, seed: Seed, skip: Collection[tuple[str, str]], out: IO[str]
) -> None:
    good = _infer(runtime, engine, seed.inputs)
    if isinstance(good, tuple):
        _report(out, "end", seed.name, "good", *good)
    for case, inputs in hostile(seed.inputs):
        if (seed.name, case) in skip:
            continue
        _report(out, "begin", seed.name, case)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers = []
        for poison in POISONS:
            ctypes.CDLL(None).mallopt(M_PERTURB, poison)
            answers.append(_infer(runtime, engine, inputs))
            _infer(runtime, engine, seed.inputs)
        ending, sentence = _judged(*answers)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MUCH_MEMORY:
            ending = f"memory ({ending})"
        _report(out, "end", seed.name, case, ending, sentence)
    again = _infer(runtime, engine, seed.inputs)
    if not isinstance(good, tuple) and _judged(good, again)[0] != "fine":
        _report(out, "end", seed.name, "good again", "changed", str(again)[:300])


Answer = dict[str, np.ndarray] | tuple[str, str]


def _infer(runtime: Runtime, engine: int, inputs: dict[str, np.ndarray]) -> Answer:
    """Infer, and retry while the model waits for its recompilation; the parent ends this if it takes too
    long."""
    while True:
        answer = _infer_once(runtime, engine, inputs)
        if not isinstance(answer, tuple) or "then be recompiled" not in answer[1]:
            return answer
        time.sleep(0.01)


def _infer_once(runtime: Runtime, engine: int, inputs: dict[str, np.ndarray]) -> Answer:
    tensors = [(n, OIP[a.dtype.name], list(a.shape), np.ascontiguousarray(a)) for n, a in inputs.items()]
    try:
        submit(runtime, engine, tensors)
    except Error as error:
        return f"refused {error.kind}", str(error)
    while not (done := runtime.take_completions()):
        select.select([runtime.completion_fd()], [], [])
    (completion,) = done
    if completion.kind is not None:
        return f"failed {completion.kind}", completion.message
    return {output.name: to_numpy(output).copy() for output in completion.outputs}


def _judged(first: Answer, second: Answer) -> tuple[str, str]:
    if isinstance(first, tuple) or isinstance(second, tuple):
        if isinstance(first, tuple) and isinstance(second, tuple) and first[0] == second[0]:
            return first
        return "unstable", f"{str(first)[:200]} then {str(second)[:200]}"
    for name in first:
        one, two = first[name], second[name]
        if one.shape != two.shape or not np.allclose(one, two, rtol=1e-3, atol=1e-5, equal_nan=True):
            return "unstable", f"{name}: {str(one)[:200]} then {str(two)[:200]}"
    return "fine", ""


def _report(out: IO[str], *what: str) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()
