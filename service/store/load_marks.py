"""Marks in the store for loads in progress, which survive a crash of the server.

    <store>/loading/<digest>.json   a load in the server that has not ended: {"at", "under_way", "crashes"}
    <store>/loading/crash           what faulthandler wrote when a fatal signal ended the server

A plan may crash the server. Without a mark, the next start would load that plan again, and crash again. The
rule: **a plan whose load had not ended when the server did is a suspect, not guilty.**

- A mark is written before a load in the server begins, and removed when the load ends, however it ends. The
  mark stays only if the server ended in between: in a crash of this load, of another load in progress or of
  something else, by a kill, or by a power cut.
- Marks are not synced to disk, which would cost each load several writes: they survive whatever ends the
  server but not the machine. A power cut says nothing about a plan; one that loses a mark makes the next
  start load its plan as usual, and one that tears a mark leaves a suspect.
- A start loads suspects one at a time, each first in a trial process, which it may crash
  (service/plans/trial.py). A suspect that crashes it becomes FAILED. A power cut or a kill -9 makes no engine
  FAILED: the trial succeeds, and so does the load.
- A plan may crash the server but not the trial. So a mark counts the crashes during its load: those where a
  fatal signal ended the server, as faulthandler's file shows; a kill leaves nothing in it. The first crash
  counts for every load in progress. A second one counts only for the load that is in progress again, and
  suspects are loaded one at a time: by then the innocent have been loaded, and their marks are gone. After
  the second crash the engine is FAILED, and later starts leave it alone.
- A FAILED engine keeps its mark, so that the next start tries it again in a trial process if the trial was
  what failed. An explicit load or upload goes through the trial, however many crashes are counted. When it
  ends, the mark goes.
- A load that hangs and is given up keeps its mark until it ends: if the server ends first, it is a suspect.

If a mark cannot be written (a full disk), the log says so and the load goes on without it.
"""

import faulthandler
import json
import logging
import re
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from trtserve.store.folder import Layout

logger = logging.getLogger(__name__)

MARK_NAME = re.compile(r"[0-9a-f]{64}\.json")
CRASH_NAME = "crash"
GUILTY = 2  # crashes
CRASH_LINES = 20  # of faulthandler's output that go into the log


@dataclass(frozen=True)
class Mark:
    at: str  # when the load began
    under_way: bool = True  # False: an earlier server left it
    crashes: int = 0

    @property
    def guilty(self) -> bool:
        return self.crashes >= GUILTY


def record_crashes(store: Path) -> None:
    """From now on, record a fatal signal that ends this process in the store's folder of marks."""
    try:
        file = (Layout(store).loading / CRASH_NAME).open("ab")
    except OSError as failure:
        logger.warning("a crash of this server will not be recorded in its store: %s", failure.strerror)
        return
    faulthandler.enable(file)  # it keeps the descriptor open


class LoadMarks:
    """The folder of marks. Blocks; thread safe, because only the load of a digest changes its mark."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is missing, and turn the marks of an earlier server into suspects."""
        self._folder = folder
        self.paused = False  # True: the marks are another process's, and this one neither reads nor makes any
        folder.mkdir(exist_ok=True)
        crashed = self._has_crashed()
        try:
            for digest in self._digests():
                mark = self.of(digest)
                if mark is not None and mark.under_way:
                    self._write(digest, replace(mark, under_way=False, crashes=mark.crashes + crashed))
            if crashed:
                (folder / CRASH_NAME).unlink(missing_ok=True)
        except OSError as failure:
            logger.warning("the load marks cannot be written: %s", failure.strerror)

    def of(self, digest: str) -> Mark | None:
        """The mark of a plan, or None. A damaged mark counts as one without crashes."""
        if self.paused:
            return None
        try:
            text = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            text = b""
        try:
            read = json.loads(text)
            return Mark(str(read["at"]), bool(read["under_way"]), int(read["crashes"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return Mark("an unknown time")

    def keep_only(self, digests: Set[str]) -> None:
        """Remove the marks of plans that are no longer stored."""
        for digest in self._digests() - digests:
            self._remove(digest)

    @contextmanager
    def during(self, digest: str) -> Iterator[None]:
        """Keep a mark while a load runs in this process."""
        if self.paused:
            yield
            return
        before = self.of(digest)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._write(digest, Mark(now, crashes=before.crashes if before else 0))
        except OSError as failure:
            logger.warning("the load of plan %s leaves no mark in the store: %s", digest, failure.strerror)
        try:
            yield
        finally:
            self._remove(digest)

    def _digests(self) -> set[str]:
        return {path.stem for path in self._folder.iterdir() if MARK_NAME.fullmatch(path.name)}

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _has_crashed(self) -> bool:
        """True if a fatal signal ended the previous server; log what faulthandler recorded."""
        try:
            words = (self._folder / CRASH_NAME).read_text(errors="replace")
        except OSError:
            return False
        if not words.strip():
            return False
        lines = words.strip().splitlines()
        logger.error("the previous server crashed:\n%s", "\n".join(lines[:CRASH_LINES]))
        return True

    def _write(self, digest: str, mark: Mark) -> None:
        part = self._folder / f"{digest}.part"
        part.write_bytes(json.dumps(asdict(mark)).encode())
        part.replace(self._path(digest))

    def _remove(self, digest: str) -> None:
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as failure:
            logger.warning("the mark of plan %s cannot be removed: %s", digest, failure.strerror)
