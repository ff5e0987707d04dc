"""What the store keeps of engines and names, and how all of it looks as rows."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True)
class StoredEngine:
    """What must be known to stand an engine up again; the options are those that were asked for."""

    id: int
    digest: str  # SHA-256 of the plan, hex
    format: str
    backend: str
    device: str
    instances: int
    max_queue_size: int
    precision: str
    cuda_graphs: str
    plan_bytes: int
    created: str  # ISO 8601, UTC
    max_batch_size: int
    max_queue_delay_us: int | str  # or "auto", or "never": see service/options/batching.py
    latency_target_us: int
    preferred_batch_sizes: str  # canonical, see service/options/batching.py
    batch_dims: str  # canonical
    damage: str = ""  # a sentence: why its options are not known any more; empty: they are


@dataclass(frozen=True)
class StoredName:
    current: int  # a key of versions
    versions: dict[int, int]  # version -> engine ID


@dataclass(frozen=True)
class Rows:
    """All rows of a database, by their keys. Where it is damaged, a value may be of any type."""

    engines: list[dict[str, Any]] = field(default_factory=list)  # by column
    names: list[list[Any]] = field(default_factory=list)  # name, current, newest
    versions: list[list[Any]] = field(default_factory=list)  # name, version, engine

    def checksum(self, store: str, generation: int) -> str:
        """Of the rows of this store after so many changes; empty where a row holds what no row may."""
        told = [store, generation, self.engines, self.names, self.versions]
        try:
            return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
        except (TypeError, ValueError):  # bytes, or text that is no Unicode
            return ""
