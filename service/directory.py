"""What each reference in a URL, an engine ID or a name, stands for: derived, and kept at hand.

Every request asks it, so asking is one look-up; a change, which is rare, derives everything anew.
"""

from collections.abc import Mapping

from service.engine import Engine, EngineName, Resolved
from service.errors import NotFound
from service.metadata import StoredName

NAMED_AT_MOST = 20  # references that a NotFound lists


class Directory:
    """Belongs to the event loop; only the registry changes it."""

    def __init__(self) -> None:
        self._engines: dict[int, Engine] = {}
        self._names: Mapping[str, StoredName] = {}  # what they point to is in _engines
        self._by_ref: dict[str, Resolved] = {}

    def engines(self) -> list[Engine]:
        return list(self._engines.values())

    def get(self, id: int) -> Engine | None:
        return self._engines.get(id)

    def resolve(self, ref: str) -> Resolved:
        """NotFound says what there is."""
        resolved = self._by_ref.get(ref)
        if resolved is None:
            raise NotFound(self._what_there_is(ref))
        return resolved

    def label(self, engine: Engine, name: str | None) -> Resolved:
        """The engine under this name, or without one under the first that it has."""
        for known in engine.names:
            if name in {None, known.name}:
                return Resolved(engine, known.name, known.version)
        return Resolved(engine, None, None)

    def show(self, *engines: Engine) -> None:
        """Add engines; one with the ID of another takes its place."""
        self._engines |= {engine.id: engine for engine in engines}
        self._derive()

    def hide(self, engine: Engine) -> None:
        """Take out an engine that no name points to any more."""
        del self._engines[engine.id]
        self._derive()

    def rename(self, names: Mapping[str, StoredName]) -> None:
        """Take these names, all that there are, instead of those before."""
        self._names = names
        self._derive()

    def _derive(self) -> None:
        pointing: dict[int, list[EngineName]] = {}
        for name, known in self._names.items():
            for version, id in known.versions.items():
                pointing.setdefault(id, []).append(EngineName(name, version, version == known.current))
        by_ref = {}
        for engine in self._engines.values():
            engine.names = tuple(pointing.get(engine.id, ()))
            by_ref[str(engine.id)] = self.label(engine, None)
        for name, known in self._names.items():
            by_ref[name] = Resolved(self._engines[known.versions[known.current]], name, known.current)
        self._by_ref = by_ref

    def _what_there_is(self, ref: str) -> str:
        if not self._engines:
            return f"There is no engine {ref!r}: this server has none. Upload a plan with POST /engines."
        refs = [*self._names, *(str(engine.id) for engine in self._engines.values() if not engine.names)]
        more = f" and {len(refs) - NAMED_AT_MOST} more" if len(refs) > NAMED_AT_MOST else ""
        return f"There is no engine {ref!r}. There is: {', '.join(refs[:NAMED_AT_MOST])}{more}."
