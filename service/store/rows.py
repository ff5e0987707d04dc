"""What the store keeps of engines and names, and its form as rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from trtserve.options.engine_options import EngineOptions
from trtserve.store.batch_verdict import BatchVerdict, read_verdict
from trtserve.store.build_record import Build, read_build
from trtserve.store.measure import Measure, read_measure
from trtserve.store.module_uses import Uses, read_uses
from trtserve.text import shown


class Exactly(int):
    """The number of the version that an engine becomes, whatever the name has had so far.

    The engine that was this version is it no longer, and one that was another version of the name is this one
    now. The greatest version is current then.
    """


@dataclass(frozen=True)
class StoredEngine:
    """What is needed to load an engine again; the options are as asked for."""

    id: int
    digest: str  # SHA-256 in hex: of the plan, or of what it is built from (Build.digest)
    format: str
    backend: str
    options: EngineOptions
    plan_bytes: int  # 0: not built yet
    created: str  # ISO 8601, UTC
    damage: str = ""  # a sentence: why its options are not known any more; empty: they are
    build: Build | None = None  # None: its plan was uploaded
    batching: BatchVerdict | None = None  # None: it was not checked whether its requests may be joined
    measured: Measure | None = None  # None: not loaded yet, or that was not kept
    uses: Uses | None = None  # None: it is no module, or its graph is not known

    @property
    def plan_digest(self) -> str | None:
        """SHA-256 of the plan's bytes; None: it is not built yet."""
        return self.build.plan if self.build is not None else self.digest

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Build it from its columns. An engine with options that this version cannot read is damaged."""
        options, unreadable = EngineOptions.read(row["options"])
        build, readable = read_build(row["build"])
        if not readable:
            unreadable = [*unreadable, "build"]
        damage = row["damage"]
        if unreadable and not damage:
            damage = (
                "It was stored with options that this version of trtserve does not support "
                f"({names(unreadable)}): start the version that stored it, or upload its plan again, with "
                "the options that it is to have."
            )
        told = {"options": options, "damage": damage, "build": build}
        found = {
            "batching": read_verdict(row["batching"]),
            "measured": read_measure(row["measured"]),
            "uses": read_uses(row["uses"]),
        }
        return cls(**{**row, **told, **found})

    def as_row(self) -> dict[str, Any]:
        """Its columns."""
        build = self.build.model_dump_json() if self.build is not None else ""
        batching = self.batching.model_dump_json() if self.batching is not None else ""
        measured = self.measured.model_dump_json() if self.measured is not None else ""
        uses = self.uses.model_dump_json() if self.uses is not None else ""
        told = {"build": build, "batching": batching, "measured": measured, "uses": uses}
        return {**vars(self), "options": self.options.model_dump_json(), **told}


def names(options: Sequence[str]) -> str:
    """Names of options that were read from a row, for a sentence."""
    return ", ".join(option if option.isidentifier() else shown(option) for option in options[:10])


@dataclass(frozen=True)
class StoredName:
    current: int  # a key of versions
    versions: dict[int, int]  # version -> engine ID


@dataclass(frozen=True)
class Rows:
    """All rows of a database, by key. In a damaged one, a value may have any type."""

    engines: list[dict[str, Any]] = field(default_factory=list)  # by column
    names: list[list[Any]] = field(default_factory=list)  # name, current, newest
    versions: list[list[Any]] = field(default_factory=list)  # name, version, engine

    def checksum(self, store: str, generation: int) -> str:
        """The checksum of this store's rows at this generation; empty if a row holds an invalid value."""
        told = [store, generation, self.engines, self.names, self.versions]
        try:
            return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
        except (TypeError, ValueError):  # bytes, or text that is not Unicode
            return ""
