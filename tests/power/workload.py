"""What a store goes through while recorder.cpp writes down what it does to the disk.

python -m tests.power.workload SCENARIO FOLDER SEED

The store is FOLDER/store. After each change that a server would acknowledge, a line in FOLDER/notes says what
the store holds from then on.
"""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fakes.plans import onnx_plan
from tests.unit.stores import built, stage, stored, with_plan
from trtserve.store.backup import backup
from trtserve.store.batch_verdict import BatchVerdict
from trtserve.store.database import StoredEngine
from trtserve.store.leftovers import delete_leftovers
from trtserve.store.measure import Measure
from trtserve.store.module_uses import Uses
from trtserve.store.store import Store

TURNS = 45
State = dict[str, Any]


def state(store: Store) -> State:
    """What a store holds, as JSON has it."""
    return {
        "engines": {str(engine.id): engine.plan_digest or "" for engine in store.engines()},
        "names": {
            name: [known.current, {str(number): id for number, id in known.versions.items()}]
            for name, known in store.names().items()
        },
        "unloaded": sorted(store.unloaded()),
    }


class Workload:
    """A store under one thread, and the notes about it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.root = folder / "store"
        self.chance = random.Random(seed)
        self._folder = folder
        self._notes = (folder / "notes").open("a")
        self._backups: dict[str, State] = {}
        self._seeds = iter(range(seed * 1000, seed * 1000 + 1000))
        self.store = Store(self.root)
        self.note()

    def note(self) -> None:
        line = {"state": state(self.store), "backups": self._backups}
        self._notes.write(json.dumps(line) + "\n")
        self._notes.flush()

    def churn(self) -> None:
        """Every kind of change, in an order that follows from the seed."""
        for _ in range(3):
            self.upload()
        kinds = [
            *(self.upload, self.upload, self.refuse, self.abandon, self.module, self.unload, self.load),
            *(self.point, self.remove, self.remove_version, self.measure, self.check, self.compile),
            *(self.reopen, self.back_up, self.gc, self.accept, self.build, self.rebuild),
        ]
        self.chance.shuffle(kinds)
        for turn in range(TURNS):
            kinds[turn % len(kinds)]()
        self.store.close()

    def upload(self) -> None:
        plan = stage(self.store, onnx_plan(next(self._seeds), padding=self.chance.randrange(20_000)))
        engine = stored(plan)
        self.store.adopt(plan, engine)
        self.store.commit(engine, self.chance.choice(("a", "b", "c", None)))
        self.note()

    def module(self) -> None:
        engines = self.engines()
        plan = stage(self.store, onnx_plan(next(self._seeds)))
        uses = Uses(ids=tuple(engine.id for engine in engines[:1]))
        module = stored(plan, format="torchscript", backend="torchscript", uses=uses)
        self.store.adopt(plan, module)
        self.store.commit(module, "module")
        self.note()

    def refuse(self) -> None:
        """A plan that cannot be loaded."""
        plan = stage(self.store, onnx_plan(next(self._seeds), padding=5000))
        engine = stored(plan)
        self.store.adopt(plan, engine)
        self.store.delete_plan(engine)
        self.note()

    def abandon(self) -> None:
        """A client that leaves during its upload."""
        writer = self.store.new_upload()
        writer.write([bytes(10_000)])
        writer.discard()

    def accept(self) -> None:
        """A model whose build is answered before it ends, which the turn does not see."""
        model = stage(self.store, b"model %d" % next(self._seeds))
        engine = built(model)
        self.store.adopt(model, engine)
        self.store.commit(engine, None)
        self.note()

    def build(self) -> None:
        model = stage(self.store, b"model %d" % next(self._seeds))
        engine = built(model)
        self.store.adopt(model, engine)
        engine = with_plan(self.store, engine, self.chance.randbytes(3000))
        self.store.commit(engine, "built")
        self.note()

    def rebuild(self) -> None:
        for engine in [engine for engine in self.engines() if engine.build][:2]:
            target = f"T {self.chance.random()}"
            with_plan(self.store, engine, self.chance.randbytes(3000), target)
            self.note()

    def unload(self) -> None:
        self.store.unload(self.one().id)
        self.note()

    def load(self) -> None:
        engine = self.one()
        with self.store.marks.during(engine.digest):
            self.store.check_plan(engine) if engine.plan_digest else None
        self.store.commit(engine, None)
        self.note()

    def point(self) -> None:
        name, known = self.chance.choice(sorted(self.store.names().items()))
        self.store.point(name, self.chance.choice(sorted(known.versions)))
        self.note()

    def remove(self) -> None:
        engine = self.one()
        self.store.forget_engine(engine.id)
        self.store.delete_plan(engine)
        self.note()

    def remove_version(self) -> None:
        name, known = self.chance.choice(sorted(self.store.names().items()))
        number, id = self.chance.choice(sorted(known.versions.items()))
        (engine,) = (engine for engine in self.engines() if engine.id == id)
        self.store.forget_version(name, number, id)
        if id not in {engine.id for engine in self.engines()}:
            self.store.delete_plan(engine)
        self.note()

    def measure(self) -> None:
        measured = Measure(memory={"cpu": {"weights": self.chance.randrange(10**9)}})
        self.store.record_measures([replace(engine, measured=measured) for engine in self.engines()])
        self.note()

    def check(self) -> None:
        verdict = BatchVerdict(why="", basis=str(self.chance.random()))
        self.store.record_check(replace(self.one(), batching=verdict))
        self.note()

    def compile(self) -> None:
        def write(path: str) -> bool:
            Path(path).write_bytes(self.chance.randbytes(5000))
            return True

        engine = self.one()
        self.store.compiled.keep(engine.digest, engine.plan_bytes, write)

    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.root)
        self.note()

    def gc(self) -> None:
        self.store.close()
        delete_leftovers(self.root)
        self.store = Store(self.root)
        self.note()

    def back_up(self) -> None:
        name = f"backup-{len(self._backups)}"
        backup(self.root, self._folder / name)
        self._backups[name] = state(self.store)
        self.note()

    def start(self) -> None:
        """What a start does, and one upload."""
        self.upload()
        self.store.close()

    def engines(self) -> list[StoredEngine]:
        return self.store.engines()

    def one(self) -> StoredEngine:
        return self.chance.choice(self.engines())


if __name__ == "__main__":
    scenario, folder, seed = sys.argv[1:]
    getattr(Workload(Path(folder), int(seed)), scenario)()
