"""Cuts the power of recorded workloads at many points, and opens the store that is left each time.

python -m tests.power.cuts --cuts 1000 --seed 1
"""

import argparse
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.power.after import Allowed, Wrong, check_after_loss, state_of
from tests.power.before import SCENARIOS
from tests.power.disk import Disk, Record, records

ROOT = Path(__file__).parents[2]
AGAIN = 30  # one of so many cuts is itself opened under the recorder, and cut as often


@dataclass
class Tally:
    """The losses of power by what was going on, and what was found wrong."""

    cuts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Cutter:
    """Cuts recorded workloads, and checks what is left; the same for the same seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._recorder = _compile_recorder(folder)
        self._made = 0
        self.tally = Tally()

    def run(self, cuts: int) -> Tally:
        """Cut the workloads `cuts` times or a few more."""
        shares = sum(scenario.share for scenario in SCENARIOS)
        for scenario in SCENARIOS:
            folder = self._new("workload")
            scenario.make(folder)
            before = Allowed([state_of(folder, self._new("before"))] if any(folder.iterdir()) else [])
            number = -(-cuts * scenario.share // shares)
            self._cut(scenario.name, scenario.runs, folder, before, number, again=True)
        return self.tally

    def _cut(self, name: str, runs: str, folder: Path, before: Allowed, cuts: int, *, again: bool) -> None:
        """Run this workload in the folder, and cut it."""
        disk = Disk(folder)
        seed = self._chance.randrange(1, 10**6)
        record = self._recorded(folder, runs, seed)
        changes = list(records(record))
        notes = (folder / "notes").read_text().splitlines()
        points = Counter(self._points(changes, cuts))
        for done in range(len(changes) + 1):
            allowed = before.after(notes, disk.read("notes").count(b"\n"))
            for _ in range(points[done]):
                where = f"{name}: {runs} with seed {seed} after {done} of {len(changes)} changes"
                self._lose(name, where, disk, allowed, again=again and self._chance.randrange(AGAIN) == 0)
            if done < len(changes):
                disk.change(changes[done])
        self._check_record(disk, folder)
        record.unlink()
        shutil.rmtree(folder)

    def _points(self, changes: list[Record], cuts: int) -> list[int]:
        """After how many changes the power goes: half of them anywhere, half right after an answer."""
        (notes,) = (
            change.fields[1] for change in changes if change.kind == "C" and change.fields[2] == "notes"
        )
        answers = [
            number + 1
            for number, change in enumerate(changes)
            if change.kind == "W" and change.fields[0] == notes
        ]
        anywhere = range(len(changes) + 1)
        return [self._chance.choice(answers if number % 2 else anywhere) for number in range(cuts)]

    def _lose(self, name: str, where: str, disk: Disk, allowed: Allowed, *, again: bool) -> None:
        left = self._new("left")
        disk.after_loss(self._chance, left)
        self.tally.cuts[name] += 1
        (left / "notes").unlink(missing_ok=True)
        again = again and (left / "store").exists()
        second = self._new("again")
        if again:
            shutil.copytree(left / "store", second / "store")
        try:
            check_after_loss(left, allowed)
        except Wrong as wrong:
            self.tally.wrong.append(f"{where}: {wrong}")
            again = False
        if again:
            before = Allowed(allowed.states)
            self._cut("a start after a loss of power", "start", second, before, AGAIN, again=False)
        for folder in (left, second):
            shutil.rmtree(folder, ignore_errors=True)

    def _recorded(self, folder: Path, runs: str, seed: int) -> Path:
        to = folder.with_name(f"{folder.name}.record")
        told = {"LD_PRELOAD": str(self._recorder), "RECORD_ROOT": str(folder), "RECORD_TO": str(to)}
        command = [sys.executable, "-m", "tests.power.workload", runs, str(folder), str(seed)]
        ended = subprocess.run(
            command, env=os.environ | told, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, f"{runs} with seed {seed}: {ended.stderr}"
        return to

    def _check_record(self, disk: Disk, folder: Path) -> None:
        """What the record says must be what is there: a change that it lacks would hide what can be lost."""
        seen = self._new("seen")
        disk.as_seen(seen)
        assert _content(seen) == _content(folder), "the record lacks changes of the disk"
        shutil.rmtree(seen)

    def _new(self, what: str) -> Path:
        self._made += 1
        folder = self._folder / f"{what}-{self._made}"
        folder.mkdir()
        return folder


def _compile_recorder(folder: Path) -> Path:
    library = folder / "recorder.so"
    source = Path(__file__).with_name("recorder.cpp")
    compiler = os.environ.get("CXX", "g++")
    command = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return library


def _content(folder: Path) -> dict[str, bytes | None]:
    """All files and folders, but for the index that SQLite maps."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.name.endswith("-shm")
    }


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder in memory, where there is one: the record says what is on the disk, and nothing else does."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="trtserve-power-", dir=memory if memory.is_dir() else None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    begun = time.monotonic()
    with scratch() as folder:
        tally = Cutter(Path(folder), options.seed).run(options.cuts)
    for name, number in tally.cuts.items():
        print(f"{number:6} {name}")
    seconds = time.monotonic() - begun
    print(f"{tally.cuts.total():6} losses of power in {seconds:.0f} s: {len(tally.wrong)} wrong")
    for wrong in tally.wrong[:40]:
        print(wrong)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
