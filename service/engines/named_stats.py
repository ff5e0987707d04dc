"""The statistics of engines under their names: a request counts for the name by which its client called."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from runtime_ext import EngineStats


@dataclass(frozen=True)
class _Never:
    """A Duration of nothing."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True)
class _Nothing:
    """The statistics under a name by which nobody has called the engine yet."""

    id: int
    name: str
    is_own: bool = False
    outcomes: Mapping[str, int] = field(default_factory=dict)
    success: _Never = _Never()
    fail: _Never = _Never()
    queue_time: _Never = _Never()
    compute_input: _Never = _Never()
    compute_infer: _Never = _Never()
    compute_output: _Never = _Never()
    inference_count: int = 0
    execution_count: int = 0
    last_inference_ms: int = 0
    batches: Sequence[object] = ()
    queue_depth: int = 0


class NamedStats:
    """What the runtime has counted, at one moment."""

    def __init__(self, counted: Iterable[EngineStats]) -> None:
        self._own: dict[int, EngineStats] = {}
        self._named: dict[tuple[int, str], EngineStats] = {}
        for stats in counted:
            self._named[stats.id, stats.name] = stats
            if stats.is_own:
                self._own[stats.id] = stats

    def of(self, id: int, name: str | None) -> EngineStats | None:
        """Those of an engine under a name, or without one its own; None if nothing is counted of it."""
        if id not in self._own:
            return None
        if name is None:
            return self._own[id]
        found = self._named.get((id, name))
        return cast("EngineStats", _Nothing(id, name)) if found is None else found
