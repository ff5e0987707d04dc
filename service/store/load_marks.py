"""Marks in the store of the loads that are under way, which survive a crash of the server.

    <store>/loading/<digest>.json   a load in the server that has not ended: {"at", "under_way", "crashes"}
    <store>/loading/crash           what faulthandler wrote when a fatal signal ended the server

A backend may crash the server with a plan. Without a mark, the next start would load that plan again, and
crash again. The rule: **a plan whose load had not ended when its server did is under suspicion, and not
guilty.**

- A mark is written, and brought to the disk, before a load in the server begins, and removed when it has
  ended, whichever way. Only a server that ended in between leaves it behind: by a crash of this load, of
  another that was under way, or of something else, by a kill, or with the power.
- A start loads suspects one at a time, and each in a trial process first, which it may crash
  (service/plans/trial.py). One that does is FAILED. A power cut and a kill -9 make nobody FAILED: the trial
  goes well, and so does the load.
- A plan may crash the server and not the trial. So a mark counts the crashes that it was there at: those that
  ended the server by a fatal signal, as faulthandler's file tells; a kill leaves nothing in it. All that were
  loading at a crash have it counted, but a second one is counted only for the load that was under way again,
  and suspects are loaded one at a time: the innocent have been loaded by then, and their marks are gone. With
  the second crash the engine is FAILED, and later starts leave it alone.
- A FAILED engine keeps its mark, so that the next start tries it again in a trial process, where that was
  what failed. An explicit load or upload goes through the trial, however many crashes are counted. When it
  ends, the mark goes.
- A load that hangs and is given up keeps its mark until it ends: after the server's end it is a suspect.

A mark that cannot be written (a full disk) is told in the log, and the load goes on without.
"""

import faulthandler
import json
import logging
import os
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
CRASH_LINES = 20  # of faulthandler's, that the log gets


@dataclass(frozen=True)
class Mark:
    at: str  # when the load began
    under_way: bool = True  # False: a former server's
    crashes: int = 0

    @property
    def guilty(self) -> bool:
        return self.crashes >= GUILTY


def record_crashes(store: Path) -> None:
    """From here on, a fatal signal that ends this process leaves word in the store's folder of marks."""
    try:
        file = (Layout(store).loading / CRASH_NAME).open("ab")
    except OSError as failure:
        logger.warning("a crash of this server will not be recorded in its store: %s", failure.strerror)
        return
    faulthandler.enable(file)  # which keeps the descriptor open


class LoadMarks:
    """The folder of marks. Blocks; thread safe, as nobody but the load of a digest changes its mark."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is missing, and take what a former server left under suspicion."""
        self._folder = folder
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
            logger.warning("the marks of loads cannot be written: %s", failure.strerror)

    def of(self, digest: str) -> Mark | None:
        """The mark that was left of a plan, if there is one. A damaged one is one without crashes."""
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
        """Remove the marks of plans that are not stored any more."""
        for digest in self._digests() - digests:
            self._remove(digest)

    @contextmanager
    def during(self, digest: str) -> Iterator[None]:
        """Around a load in this process."""
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
        """Whether a fatal signal ended the former server; it is told in the log."""
        try:
            words = (self._folder / CRASH_NAME).read_text(errors="replace")
        except OSError:
            return False
        if not words.strip():
            return False
        lines = words.strip().splitlines()
        logger.error("the server before this one crashed:\n%s", "\n".join(lines[:CRASH_LINES]))
        return True

    def _write(self, digest: str, mark: Mark) -> None:
        part = self._folder / f"{digest}.part"
        with part.open("wb") as file:
            file.write(json.dumps(asdict(mark)).encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path(digest))
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self, digest: str) -> None:
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as failure:
            logger.warning("the mark of plan %s stays in the store: %s", digest, failure.strerror)
