"""The workloads whose power is cut, and the stores that they begin with."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add
from trtserve.store.store import Store

DATA = Path(__file__).parents[1] / "unit" / "store" / "data"


@dataclass(frozen=True)
class Scenario:
    """A workload."""

    name: str
    runs: str  # the method of workload.Workload
    make: Callable[[Path], None]  # puts the store there that it begins with
    share: int  # of the cuts


def _nothing(folder: Path) -> None:
    """A server that starts for the first time."""


def _damaged(folder: Path) -> None:
    """A store with rows that the server did not write, so that a start writes its database anew."""
    store = Store(folder / "store")
    for seed in range(4):
        add(store, seed, "net")
    store.close()
    db = sqlite3.connect(folder / "store" / "metadata.sqlite3")
    db.execute("UPDATE name SET current = 2")
    db.commit()
    db.close()


def _of_schema(number: int, folder: Path) -> None:
    """A store that an earlier version wrote."""
    plans = folder / "store" / "plans"
    plans.mkdir(parents=True)
    for file in DATA.glob(f"metadata-{number}.*"):
        shutil.copyfile(file, folder / "store" / f"metadata{file.suffix}")
    for seed in range(1, 5):
        plan = onnx_plan(seed)
        (plans / f"{hashlib.sha256(plan).hexdigest()}.plan").write_bytes(plan)


SCENARIOS = [
    Scenario("every change of a store", "churn", _nothing, 10),
    Scenario("the first start", "start", _nothing, 1),
    Scenario("a start with damaged rows", "start", _damaged, 2),
    *(Scenario(f"a start with schema {n}", "start", partial(_of_schema, n), 1) for n in (4, 5, 6)),
]
