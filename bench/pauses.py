"""How long the garbage collector stops a server, measured with gc.callbacks inside it.

`python -m bench.pauses FILE serve …` is `trtserve serve …`; at its end it writes its collections to FILE.
"""

import atexit
import gc
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

FULL = 2  # the generation whose collection visits all objects


@dataclass(frozen=True)
class Pause:
    """One collection; `began` is on the clock that all processes of a machine share."""

    generation: int
    began_ns: int
    wall_us: float
    processor_us: float  # less than `wall_us` if other threads had the core


def command(file: Path) -> tuple[str, ...]:
    """What starts a server whose collections read() finds in `file` once it has ended."""
    return (sys.executable, "-m", "bench.pauses", str(file), "serve")


def read(file: Path) -> list[Pause]:
    return [Pause(*fields) for fields in json.loads(file.read_text())]


def summary(pauses: list[Pause]) -> dict[str, float]:
    """The longest pauses in microseconds, apart for collections of young objects and full ones."""
    young = [pause for pause in pauses if pause.generation < FULL]
    full = [pause for pause in pauses if pause.generation == FULL]
    return {
        "young": len(young),
        "young_us": max((pause.processor_us for pause in young), default=0),
        "young_wall_us": max((pause.wall_us for pause in young), default=0),
        "full": len(full),
        "full_us": max((pause.processor_us for pause in full), default=0),
        "full_wall_us": max((pause.wall_us for pause in full), default=0),
    }


def _watch(file: Path) -> None:
    """Keep each collection in memory until the process ends."""
    ended: list[tuple[int, int, float, float]] = []
    began = [0, 0]

    def on_collection(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            began[:] = time.monotonic_ns(), time.thread_time_ns()
            return
        wall, processor = time.monotonic_ns() - began[0], time.thread_time_ns() - began[1]
        ended.append((info["generation"], began[0], wall / 1e3, processor / 1e3))

    gc.callbacks.append(on_collection)
    atexit.register(lambda: file.write_text(json.dumps(ended)))


def main() -> None:
    _watch(Path(sys.argv[1]))  # before the import: a start counts too
    from trtserve.cli.main import main as trtserve

    trtserve(sys.argv[2:], prog_name="trtserve")


if __name__ == "__main__":
    main()
