"""Reports what is wrong with the store of a stopped server, and changes nothing."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from trtserve.errors import NotFound, Unavailable
from trtserve.formats.format import Format
from trtserve.formats.sniff import sniff
from trtserve.formats.tensorrt_head import HEAD_BYTES
from trtserve.store.beside import beside_database
from trtserve.store.database import Database, StoredEngine
from trtserve.store.folder import (
    BUILT_NAME,
    COPY_NAME,
    MARK_NAME,
    PART_NAME,
    PLAN_NAME,
    SOURCE_NAME,
    Layout,
    lock,
    named,
)
from trtserve.store.plan_file import check_plan, check_source, digest_of, is_plain
from trtserve.store.set_aside import SetAside


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know; `wrong` is False for a mere note."""

    text: str
    wrong: bool = True

    def __str__(self) -> str:
        return f"{'wrong' if self.wrong else 'note'}: {self.text}"


@dataclass(frozen=True)
class LostPlan:
    """A whole plan without a row."""

    path: Path
    digest: str
    size: int  # bytes
    format: Format


def check(root: Path) -> list[Finding]:
    """Everything that is wrong. Raises Conflict if a server uses the store, NotFound if there is none."""
    layout = Layout(root)
    with stopped(root):
        engines: list[StoredEngine] = []
        sound = False
        findings: list[Finding] = []
        try:
            engines, notes, sound = read_database(root)
            findings += map(Finding, notes)
            findings += (Finding(f"Engine {e.id}: {e.damage}") for e in engines if e.damage)
        except Unavailable as failure:
            findings.append(Finding(str(failure)))
        findings += _engines(root, engines)
        half_done = {mark.name for mark in _named(layout.pending, MARK_NAME)} if sound else set()
        findings += _built(root, engines, half_done)
        findings += _plans(root, {engine.digest for engine in engines}, half_done)
        findings += _leftovers(root)
        return findings


@contextmanager
def stopped(root: Path) -> Iterator[None]:
    """Hold a store's lock, so that no server uses it. Raises Conflict if one does, NotFound for no store."""
    check_is_store(root)
    layout = Layout(root)
    with lock(layout.lock, reading=True) if layout.lock.exists() else nullcontext():
        yield


def check_is_store(root: Path) -> None:
    """Raise NotFound unless the folder holds a store."""
    layout = Layout(root)
    if not root.is_dir() or not (layout.database.exists() or layout.plans.exists()):
        raise NotFound(f"There is no store at {root}: give the folder of one with --store.")


def read_database(root: Path) -> tuple[list[StoredEngine], list[str], bool]:
    """The engines as a start would find them, its notes, and whether the database and its copy agree.

    SQLite may write to a file that it reads, so this reads a copy.
    """
    layout = Layout(root)
    beside = beside_database(layout)
    path = layout.database
    if path.exists() and not path.is_file():
        raise Unavailable(f"The store's metadata in {path} cannot be used: it is not a file.")
    with tempfile.TemporaryDirectory(prefix="trtserve-check-") as scratch:
        for name in (path.name, f"{path.name}-wal", COPY_NAME):
            if (root / name).is_file():
                shutil.copyfile(root / name, Path(scratch) / name)
        try:
            database = Database(Layout(Path(scratch)).database, beside)
        except Unavailable as failure:
            raise type(failure)(str(failure).replace(scratch, str(root))) from failure
        try:
            return database.engines(), database.notes, database.sound
        finally:
            database.close()


def _engines(root: Path, engines: list[StoredEngine]) -> Iterator[Finding]:
    """What is wrong with the plans that have a row, and with the models that they are built from."""
    for engine in engines:
        try:
            if engine.build is not None:
                check_source(Layout(root), engine)
        except Unavailable as failure:
            yield Finding(f"Engine {engine.id} cannot be built again: {failure}")
            continue
        try:
            check_plan(Layout(root), engine)
        except Unavailable as failure:
            if engine.build is not None:
                yield Finding(f"Engine {engine.id} is built at the next start: {failure}", wrong=False)
                continue
            yield Finding(f"Engine {engine.id} is not served: {failure} DELETE it if you no longer want it.")


def _built(root: Path, engines: list[StoredEngine], half_done: set[str]) -> Iterator[Finding]:
    """Models without a row, and plans that were built here and that no row names."""
    layout = Layout(root)
    known = {engine.digest for engine in engines}
    for model in _named(layout.built, SOURCE_NAME):
        if model.stem not in known | half_done:
            where = model.relative_to(root)
            yield Finding(
                f"{where} is a model without a row, which a start sets aside: upload it again to build its "
                "engine; delete it if you no longer want it."
            )
    plans = {layout.plan(engine) for engine in engines}
    for plan in _named(layout.built, BUILT_NAME):
        if plan not in plans:
            yield Finding(f"{plan.relative_to(root)} is not used: the next start deletes it.", wrong=False)


def _plans(root: Path, known: set[str], half_done: set[str]) -> Iterator[Finding]:
    """Plans without a row: in their folder, and set aside before."""
    aside = SetAside(root).entries()
    plans = [plan for plan in _named(Layout(root).plans, PLAN_NAME) if plan.stem not in known | half_done]
    for path in [*plans, *aside]:
        where = path.relative_to(root)
        plan = identified(path)
        if plan is None:
            what = (
                "is kept until you delete it"
                if path in aside
                else "is not a whole plan; a start sets it aside"
            )
            yield Finding(f"{where} {what}.", wrong=path not in aside)
        elif plan.digest in known:
            yield Finding(f"{where} is a second copy of an engine's plan: you may delete it.", wrong=False)
        else:
            yield Finding(
                f"{where} is a whole {plan.format} plan ({plan.size} bytes) without a row: --repair "
                "serves it again, by its ID and with default options; delete it if you no longer want it."
            )
    if aside:
        size = SetAside(root).size() / 1e6
        yield Finding(f"{len(aside)} files ({size:.1f} MB) are set aside.", wrong=False)


def identified(path: Path) -> LostPlan | None:
    """The plan in a store file; None unless its name is its digest and its format is known."""
    digest = path.name.partition(".")[0]
    if not PLAN_NAME.fullmatch(f"{digest}.plan") or not path.name.startswith(f"{digest}.plan"):
        return None
    if not is_plain(path):
        return None
    try:
        found, size = digest_of(path)
        with path.open("rb") as file:
            format = sniff(file.read(HEAD_BYTES)).format
    except (Unavailable, OSError):
        return None
    return LostPlan(path, digest, size, format) if found == digest and format is not None else None


def _named(folder: Path, name: re.Pattern[str]) -> list[Path]:
    return sorted(named(folder, name)) if folder.is_dir() else []


def _leftovers(root: Path) -> Iterator[Finding]:
    layout = Layout(root)
    left = [
        path.relative_to(root)
        for folder, name in ((layout.incoming, PART_NAME), (layout.pending, MARK_NAME))
        for path in _named(folder, name)
    ]
    if left:
        yield Finding(
            f"{len(left)} files of unfinished uploads and removals ({left[0]} …): the next "
            "start clears them away.",
            wrong=False,
        )
    for folder in layout.for_plans:
        if folder.exists() and not folder.is_dir():
            yield Finding(f"{folder} is not a folder: move it away, and the next start makes one.")
