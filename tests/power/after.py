"""What must hold of a store after a loss of power."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.power.workload import State, state
from tests.unit.stores import add, aside
from trtserve.errors import TrtserveError
from trtserve.store.database_copy import CopyFile, DamagedCopy
from trtserve.store.folder import COPY_NAME, Layout
from trtserve.store.store import Store


class Wrong(Exception):
    """A store is not what it must be."""


@dataclass(frozen=True)
class Allowed:
    """What the store may hold: what was answered last, or that with the change that was under way."""

    states: list[State]
    answered: bool = False  # there was an answer, so the copy of the metadata is there too
    backups: dict[str, State] = field(default_factory=dict)  # those that were answered

    def after(self, notes: list[str], told: int) -> "Allowed":
        """What the notes of a workload allow of which `told` had been written."""
        read = [json.loads(note) for note in notes[max(0, told - 1) : told + 1]]
        states = [note["state"] for note in read]
        if told == 0:
            return Allowed([*self.states, *states])
        return Allowed(states, answered=True, backups=read[0]["backups"])


def state_of(folder: Path, scratch: Path) -> State:
    """What a start finds in a store, which it finds in a copy of it."""
    shutil.copytree(folder, scratch, dirs_exist_ok=True)
    store = Store(scratch / "store")
    try:
        return state(store)
    finally:
        store.close()


def check_after_loss(folder: Path, allowed: Allowed) -> None:
    """Raise Wrong unless the store in the folder, and its backups, are whole and as they may be."""
    root = folder / "store"
    if allowed.answered:
        _check_copy(root, allowed)
    found = _opened(root, allowed.states)
    again = _opened(root, [found])
    assert again == found
    for name, expected in allowed.backups.items():
        if not (folder / name).exists():
            raise Wrong(f"{name} is lost")
        _opened(folder / name, [expected])
    for path in folder.glob("backup-*"):  # one that was not answered is whole too, or not there
        _opened(path, allowed.states if path.name not in allowed.backups else [allowed.backups[path.name]])
    try:
        store = Store(root)
        add(store, "after", "after")
        store.close()
    except TrtserveError as failure:
        raise Wrong(f"it takes no upload: {failure}") from failure


def _check_copy(root: Path, allowed: Allowed) -> None:
    """The copy of the metadata must have what was answered, as `trtserve store backup` relies on it."""
    try:
        copy = CopyFile(root / COPY_NAME).read()
    except DamagedCopy as damage:
        raise Wrong(f"the copy {damage}") from damage
    if copy is None:
        raise Wrong("the copy is lost")
    rows = sorted(str(row["id"]) for row in copy.rows.engines)
    if rows not in [sorted(state["engines"]) for state in allowed.states]:
        raise Wrong(f"the copy holds {rows}")


def _opened(root: Path, allowed: list[State]) -> State:
    """Open the store, check it, and close it."""
    try:
        store = Store(root)
    except TrtserveError as failure:
        raise Wrong(f"it does not open: {failure}") from failure
    try:
        found = state(store)
        if found not in allowed:
            raise Wrong(f"it holds what it must not: {_differences(found, allowed)}; {store.notes}")
        for engine in store.engines():
            if engine.build is not None:
                store.check_source(engine)
            if engine.plan_digest is not None:
                store.check_plan(engine)
        _check_files(store, root)
        return found
    except TrtserveError as failure:
        raise Wrong(str(failure)) from failure
    finally:
        store.close()


def _check_files(store: Store, root: Path) -> None:
    """Each file has a row, and none was set aside: that would leave a person to decide what to do with it."""
    layout = Layout(root)
    engines = store.engines()
    files = {store.plan_path(engine) for engine in engines if engine.plan_digest is not None}
    files |= {store.source_path(engine) for engine in engines if engine.build is not None}
    there = {path for folder in layout.for_plans for path in folder.iterdir()}
    if there != files:
        raise Wrong(f"files without rows: {sorted(map(str, there ^ files))}")
    left = [name for name in aside(root) if not name.startswith("metadata.")]
    if left:
        raise Wrong(f"set aside: {left}; {store.notes}")


def _differences(found: State, allowed: list[State]) -> str:
    """In which parts the store differs from each state that it may have."""
    told = [
        f"{part} is {found[part]} and not {state[part]}"
        for state in allowed
        for part in found
        if found[part] != state[part]
    ]
    return "; or ".join(told)
