"""The bare enqueueV3 loop: bench/gpu/raw_enqueue.cpp, in a process without anything of this project."""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from bench.compiled import compiled
from bench.gpu.card import Card


class Raw:
    """The program with the plan loaded; it idles between two measurements."""

    def __init__(self, card: Card, plan: Path, folder: Path) -> None:
        include = [option for path in card.headers for option in ("-isystem", str(path))]
        target = f"raw_enqueue-{card.backend}-{card.device}"
        program = compiled("gpu/raw_enqueue.cpp", target, *include, headers=["gpu/cuda.h"])
        self._folder = folder
        libraries = [str(Path(torch.__file__).parent / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        self._process = subprocess.Popen(
            [str(program), str(card.library), str(card.cuda_runtime), str(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, libraries))},
        )
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()  # the end of its input ends it

    def measure(self, what: str, batch: int, graphs: bool, seconds: float) -> dict[str, float]:
        """The result of a command of raw_enqueue.cpp, in microseconds; "per_second" counts executions."""
        result: dict[str, float] = self._ask(f"{what} {batch} {int(graphs)} {seconds}")
        if "wall_us" in result:
            result["per_second"] = 1e6 / result["wall_us"]
        return result

    def answer(self, x: np.ndarray, graphs: bool) -> np.ndarray:
        """The engine's outputs for one batch, as the values of all of them in FP32."""
        into, out = self._folder / "raw.in", self._folder / "raw.out"
        x.tofile(into)
        self._ask(f"answer {len(x)} {int(graphs)} {into} {out}")
        return np.fromfile(out, np.float32)

    def _ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(
                f"error: raw_enqueue ended with code {self._process.wait()}; its words are above"
            )
        return json.loads(line)
