"""What each reference in a URL (an engine ID or a name, with or without a version) stands for.

Every request asks it, so asking is one look-up; a change, which is rare, derives everything again.
"""

from collections.abc import Mapping
from itertools import islice

from trtserve.engines.engine import Engine, EngineName, Resolved
from trtserve.errors import NotFound
from trtserve.store.database import StoredName
from trtserve.text import shown

NAMED_AT_MOST = 20  # references that a NotFound lists


class Lookup:
    """Belongs to the event loop; only the registry changes it."""

    def __init__(self) -> None:
        self._engines: dict[int, Engine] = {}  # in the order in which they came
        self._numbers: dict[int, int] = {}  # by engine ID, ascending in that order
        self._last_number = 0
        self._names: Mapping[str, StoredName] = {}  # what they point to is in _engines
        self._by_ref: dict[str | tuple[str, str], Resolved] = {}  # by reference, and by that and version

    def engines(self) -> list[Engine]:
        return list(self._engines.values())

    def page(self, after: int, most: int, *, modules: bool = False) -> tuple[list[Engine], int | None]:
        """At most `most` engines that came after the one with this number, in the order in which they came.

        With `modules`, only those that are modules. Also returns the number of the last of them, if there are
        more. A first page is after 0.
        """
        rest = (
            engine
            for engine in self._engines.values()
            if self._numbers[engine.id] > after and (engine.is_module or not modules)
        )
        page = list(islice(rest, most + 1))
        more = len(page) > most
        return page[:most], self._numbers[page[most - 1].id] if more else None

    def get(self, id: int) -> Engine | None:
        return self._engines.get(id)

    def names(self) -> Mapping[str, StoredName]:
        return self._names

    def name(self, name: str) -> StoredName:
        """The versions of a name. Raises NotFound, which lists the names."""
        known = self._names.get(name)
        if known is None:
            raise NotFound(
                f"There is no name {shown(name)}. {_listed(list(self._names), 'No engine has one')}"
            )
        return known

    def ids(self, ref: str) -> list[int]:
        """The engines of all versions of a reference, the current one first; empty if there is none."""
        known = self._names.get(ref)
        if known is not None:
            current = known.versions[known.current]
            return [current, *(id for id in reversed(known.versions.values()) if id != current)]
        resolved = self._by_ref.get(ref)
        return [resolved.engine.id] if resolved is not None else []

    def resolve(self, ref: str, version: str | None = None) -> Resolved:
        """What a reference stands for. Raises NotFound, which lists the references."""
        resolved = self._by_ref.get(ref if version is None else (ref, version))
        if resolved is None:
            raise NotFound(self._what_there_is(ref, version))
        return resolved

    def label(self, engine: Engine, name: str | None) -> Resolved:
        """The engine labelled with this name; without one, with its first name."""
        for known in engine.names:
            if name in {None, known.name}:
                return Resolved(engine, known.name, known.version)
        return Resolved(engine, None, None)

    def show(self, *engines: Engine) -> None:
        """Add engines; one with the ID of another takes its place, and goes on with its past."""
        for engine in engines:
            if engine.id in self._engines:
                engine.past = self._engines[engine.id].past
            else:
                self._last_number += 1
                self._numbers[engine.id] = self._last_number
            self._engines[engine.id] = engine
        self._derive()

    def hide(self, engine: Engine) -> None:
        """Remove an engine that no name points to any more."""
        del self._engines[engine.id], self._numbers[engine.id]
        self._derive()

    def rename(self, names: Mapping[str, StoredName]) -> None:
        """Replace all names with these."""
        self._names = names
        self._derive()

    def _derive(self) -> None:
        pointing: dict[int, list[EngineName]] = {}
        for name, known in self._names.items():
            for version, id in known.versions.items():
                pointing.setdefault(id, []).append(EngineName(name, version, version == known.current))
        by_ref: dict[str | tuple[str, str], Resolved] = {}
        for engine in self._engines.values():
            engine.names = tuple(pointing.get(engine.id, ()))
            by_ref[str(engine.id)] = labelled = self.label(engine, None)
            by_ref[str(engine.id), str(labelled.version or 1)] = labelled
        for name, known in self._names.items():
            for version, id in known.versions.items():
                by_ref[name, str(version)] = Resolved(self._engines[id], name, version)
            by_ref[name] = by_ref[name, str(known.current)]
        # What is as it was stays the same object: requests have found out more about it (see Template).
        before = self._by_ref
        self._by_ref = {ref: _same(before.get(ref), resolved) for ref, resolved in by_ref.items()}

    def _what_there_is(self, ref: str, version: str | None) -> str:
        known = self._by_ref.get(ref)
        if known is not None:
            named = self._names.get(ref)
            versions = list(map(str, named.versions if named is not None else [known.version or 1]))
            return f"{shown(ref)} has no version {shown(version)}. {_listed(versions)}"
        if not self._engines:
            return f"There is no engine {shown(ref)}: this server has none. Upload a plan with POST /engines."
        refs = [*self._names, *(str(engine.id) for engine in self._engines.values() if not engine.names)]
        return f"There is no engine {shown(ref)}. {_listed(refs)}"


def _same(before: Resolved | None, now: Resolved) -> Resolved:
    return before if before is not None and before == now else now


def _listed(refs: list[str], nothing: str = "There is none") -> str:
    """A sentence that lists as many of them as a person reads."""
    if not refs:
        return f"{nothing}."
    more = f" and {len(refs) - NAMED_AT_MOST} more" if len(refs) > NAMED_AT_MOST else ""
    return f"There is: {', '.join(refs[:NAMED_AT_MOST])}{more}."
