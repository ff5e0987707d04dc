"""Repairs damaged rows if no whole copy of them is left.

An engine's ID, its digest and the name of its plan follow from one another, and the plan reveals its format;
so these are repaired. Nothing else knows the options: an engine that has lost one is kept as damaged until
its plan is uploaded again.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from trtserve.formats.backends import backend_of
from trtserve.formats.format import Format
from trtserve.options.engine_options import EngineOptions
from trtserve.options.names import is_name
from trtserve.store.batch_verdict import read_verdict
from trtserve.store.build_record import read_build
from trtserve.store.measure import read_measure
from trtserve.store.module_uses import read_uses
from trtserve.store.rows import Rows, names
from trtserve.store.staging import ID_HEX_DIGITS, engine_id

DIGEST = re.compile(r"[0-9a-f]{64}")
UNKNOWN_TIME = "1970-01-01T00:00:00.000+00:00"
MOST_VERSION = 2**31

FormatOf = Callable[[str], str | None]
"""The format of the plan with this digest; None where its bytes do not tell it."""


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


class Mending:
    """The rows of one database, repaired as far as the plans allow; `notes` says what was done."""

    def __init__(self, rows: Rows, plans: Mapping[str, int], format_of: FormatOf) -> None:
        """`plans`: the bytes of each plan in the store, by its digest."""
        self.notes: list[str] = []
        self._plans = plans
        self._format_of = format_of
        engines: dict[int, dict[str, Any]] = {}
        for row in rows.engines:
            engine = self._engine(row)
            if engine is not None and engines.setdefault(engine["id"], engine) is not engine:
                self.notes.append(f"Engine {engine['id']} has two rows; the second was dropped.")
        versions = self._versions(rows, engines)
        names = self._names(rows, versions)
        self.rows = Rows([engines[id] for id in sorted(engines)], names, versions)

    # -- engines

    def _engine(self, row: dict[str, Any]) -> dict[str, Any] | None:
        found = self._identity(row)
        if found is None:
            self.notes.append(
                f"A row of an engine ({row['id']!r}) has no ID and names no plan here; it was dropped."
            )
            return None
        id, digest, known = found
        mended = {**row, "id": id, "digest": digest}
        mended["format"] = self._format(row, digest, known)
        mended["backend"] = backend_of(mended["format"]).name
        if not _whole(0, 2**62)(row["plan_bytes"]):
            mended["plan_bytes"] = self._plans.get(digest, 0)
        if not _is_time(row["created"]):
            mended["created"] = UNKNOWN_TIME
        if row["loaded"] not in (0, 1):
            mended["loaded"] = 1
        if read_verdict(row["batching"]) is None:
            mended["batching"] = ""  # the next load finds it out again
        if read_measure(row["measured"]) is None:
            mended["measured"] = ""  # likewise
        if read_uses(row["uses"]) is None:
            mended["uses"] = ""  # likewise
        mended["options"], lost = _options(row["options"])
        build, readable = read_build(row["build"])
        if not readable or (build is not None and build.digest != digest):
            mended["build"] = ""
            lost = [*lost, "build"]
        damage = row["damage"] if isinstance(row["damage"], str) and row["damage"].isprintable() else ""
        if lost:
            damage = (
                f"Its row in the metadata is damaged ({names(lost)}): upload its plan again, with the "
                "options that it is to have."
            )
        elif not known and digest not in self._plans:
            damage = (
                "Its row in the metadata is damaged, and so no plan is known to be its own: upload it again."
            )
        mended["damage"] = damage
        changed = [column for column in row if mended[column] != row[column]]
        if changed:
            self.notes.append(f"The row of engine {id} was damaged ({', '.join(changed)}).")
        return mended

    def _identity(self, row: dict[str, Any]) -> tuple[int, str, bool] | None:
        """The ID and the digest that belong to the row, and whether its digest was whole."""
        id, digest = row["id"], row["digest"]
        good_id = _whole(0, 2 ** (4 * ID_HEX_DIGITS) - 1)(id)
        good_digest = isinstance(digest, str) and DIGEST.fullmatch(digest) is not None
        if good_digest and digest in self._plans:
            return engine_id(digest), digest, True
        here = [plan for plan in self._plans if good_id and engine_id(plan) == id]
        if len(here) == 1:
            return id, here[0], True
        if good_digest and engine_id(digest) == id:
            return id, digest, True  # whole, but its plan is gone
        if good_id:  # nothing knows the missing digits until an upload
            return id, f"{id:0{ID_HEX_DIGITS}x}".ljust(64, "0"), False
        return (engine_id(digest), digest, True) if good_digest else None

    def _format(self, row: dict[str, Any], digest: str, known: bool) -> str:
        """The row's format; if that or the backend is damaged, the format that the plan reveals."""
        told = row["format"]
        if told in set(Format) and row["backend"] == backend_of(told).name:
            return str(told)
        sniffed = self._format_of(digest) if known and digest in self._plans else None
        if sniffed is not None:
            return sniffed
        return str(told) if told in set(Format) else Format.ONNX.value

    # -- names and versions

    def _versions(self, rows: Rows, engines: Mapping[int, object]) -> list[list[Any]]:
        kept: list[list[Any]] = []
        seen: set[tuple[Any, Any]] = set()
        for name, version, engine in rows.versions:
            if not isinstance(name, str) or not is_name(name):
                self.notes.append(f"A name of engine {engine!r} is damaged ({name!r}) and was dropped.")
            elif not _whole(1, MOST_VERSION)(version) or engine not in engines or (name, engine) in seen:
                self.notes.append(
                    f"Version {version!r} of {name!r} points to no engine ({engine!r}) and was dropped."
                )
            else:
                seen.add((name, engine))
                kept.append([name, version, engine])
        return sorted(kept)

    def _names(self, rows: Rows, versions: list[list[Any]]) -> list[list[Any]]:
        numbers: dict[str, list[int]] = {}
        for name, version, _ in versions:
            numbers.setdefault(name, []).append(version)
        told = {name: (current, newest) for name, current, newest in rows.names if isinstance(name, str)}
        for name in told.keys() - numbers.keys():
            self.notes.append(f"The name {name!r} has no version and was dropped.")
        names = []
        for name in sorted(numbers):
            current, newest = told.get(name, (None, None))
            last = max(numbers[name])
            if current not in numbers[name]:
                self.notes.append(f"The current version of {name!r} was damaged; it is {last} now.")
                current = last
            names.append([name, current, newest if _whole(last, MOST_VERSION)(newest) else last])
        return names


def _options(text: Any) -> tuple[str, list[str]]:
    """The options of a row, with defaults for the lost ones, and the names of the lost ones."""
    options, lost = EngineOptions.read(text)
    odd = {
        option: value
        for option, value in options.asked().items()
        if isinstance(value, str) and not value.isprintable()
    }
    if not lost and not odd:
        return str(text), []
    left = EngineOptions(**options.model_dump(exclude=set(odd)))
    return left.model_dump_json(), [*lost, *odd]


def _is_time(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
