"""What each reference in a URL (an engine ID or a name, with or without a version) stands for.

Every request asks it, so asking is one look-up; a change derives again what it touches.
"""

from collections.abc import Mapping
from itertools import islice

from trtserve.engines.engine import Engine, EngineName, Resolved
from trtserve.errors import NotFound
from trtserve.store.database import StoredName
from trtserve.text import first_of, shown

Reference = str | tuple[str, str]
"""An ID or a name as text, alone or with a version."""

NAMED_AT_MOST = 20  # references that a NotFound lists


class Lookup:
    """Belongs to the event loop; only the registry changes it."""

    def __init__(self) -> None:
        self._engines: dict[int, Engine] = {}  # in the order in which they came
        self._numbers: dict[int, int] = {}  # by engine ID, ascending in that order
        self._last_number = 0
        self._names: Mapping[str, StoredName] = {}  # what they point to is in _engines
        self._pointing: dict[int, list[EngineName]] = {}  # by engine ID
        self._by_ref: dict[Reference, Resolved] = {}
        self._refs: dict[int, set[Reference]] = {}  # by engine ID, what stands for it in _by_ref

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
            self._derive(engine)

    def hide(self, engine: Engine) -> None:
        """Remove an engine that no name points to any more."""
        del self._engines[engine.id], self._numbers[engine.id]
        self._replace(engine.id, {})

    def rename(self, names: Mapping[str, StoredName]) -> None:
        """Replace all names with these."""
        before, self._names = self._names, names
        # A change has all names and is of one or two, so only those that differ are derived again.
        changed = {name for name in before.keys() | names.keys() if before.get(name) != names.get(name)}
        touched: dict[int, None] = {}  # in the order of the names
        for name in sorted(changed):
            for known in (before.get(name), names.get(name)):
                touched |= dict.fromkeys(known.versions.values()) if known is not None else {}
        for id in touched:
            kept = [pointing for pointing in self._pointing.pop(id, []) if pointing.name not in changed]
            if kept:
                self._pointing[id] = kept
        for name in changed & names.keys():
            known = names[name]
            for version, id in known.versions.items():
                self._pointing.setdefault(id, []).append(EngineName(name, version, version == known.current))
        for id in touched:
            if id in self._engines:
                self._derive(self._engines[id])

    def _derive(self, engine: Engine) -> None:
        """Find out again what the names of an engine are, and what stands for it."""
        engine.names = tuple(sorted(self._pointing.get(engine.id, ())))
        labelled = self.label(engine, None)
        refs: dict[Reference, Resolved] = {
            str(engine.id): labelled,
            (str(engine.id), str(labelled.version or 1)): labelled,
        }
        for name, version, is_current in engine.names:
            refs[name, str(version)] = pointing = Resolved(engine, name, version)
            if is_current:
                refs[name] = pointing
        self._replace(engine.id, refs)

    def _replace(self, id: int, refs: dict[Reference, Resolved]) -> None:
        """Let exactly these references stand for the engine."""
        for ref in self._refs.pop(id, set()) - refs.keys():
            if self._by_ref[ref].engine.id == id:  # or it stands for another already
                del self._by_ref[ref]
        for ref, resolved in refs.items():
            # What is as it was stays the same object: requests have found out more about it (see Template).
            if self._by_ref.get(ref) != resolved:
                self._by_ref[ref] = resolved
        if refs:
            self._refs[id] = set(refs)

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


def _listed(refs: list[str], nothing: str = "There is none") -> str:
    """A sentence that lists them."""
    return f"There is: {first_of(refs, NAMED_AT_MOST)}." if refs else f"{nothing}."
