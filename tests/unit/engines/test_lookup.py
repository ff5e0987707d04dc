"""What references stand for, while engines and names change."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.engines import ready
from trtserve.engines.engine import Engine, EngineName
from trtserve.engines.lookup import Lookup
from trtserve.errors import NotFound
from trtserve.store.database import StoredName

IDS = range(1, 5)
NAMES = ["a", "b", "c"]


def engine(id: int) -> Engine:
    return Engine(replace(ready().engine.stored, id=id))


@st.composite
def changes(draw: st.DrawFn) -> list[dict[str, StoredName]]:
    """Names, as they are after each of several changes."""
    versions = st.dictionaries(st.integers(1, 3), st.sampled_from(IDS), min_size=1)
    name = versions.flatmap(
        lambda known: st.builds(StoredName, st.sampled_from(sorted(known)), st.just(known))
    )
    return draw(st.lists(st.dictionaries(st.sampled_from(NAMES), name), min_size=1, max_size=6))


def stands_for(lookup: Lookup) -> dict[object, object]:
    """What every reference that there may be stands for: an engine's ID, a name and a version."""
    found: dict[object, object] = {}
    for ref in (*NAMES, *map(str, IDS)):
        for version in (None, "1", "2", "3"):
            try:
                engine, name, number = lookup.resolve(ref, version)
            except NotFound:
                continue
            found[ref, version] = (engine.id, engine.names, name, number)
    return found


@given(changes(), st.sampled_from(IDS))
def test_after_any_change_of_names_references_stand_for_what_they_would_from_the_start(
    changed: list[dict[str, StoredName]], again: int
) -> None:
    lookup = Lookup()
    lookup.show(*map(engine, IDS))
    for names in changed:
        lookup.rename(names)
        lookup.show(engine(again))  # another life of it
        anew = Lookup()
        anew.show(*map(engine, IDS))
        anew.rename(names)
        assert stands_for(lookup) == stands_for(anew)
        assert all(lookup.get(id) is lookup.resolve(str(id)).engine for id in IDS)


def test_an_engine_that_is_hidden_is_found_no_more() -> None:
    lookup = Lookup()
    lookup.show(one := engine(1), engine(2))
    lookup.hide(one)
    for version in (None, "1"):
        with pytest.raises(NotFound):
            lookup.resolve("1", version)
    assert lookup.resolve("2").engine.id == 2


def test_a_name_that_moves_stands_for_its_new_engine_alone() -> None:
    lookup = Lookup()
    lookup.show(first := engine(1), second := engine(2))
    lookup.rename({"a": StoredName(1, {1: 1})})
    lookup.rename({"a": StoredName(2, {1: 1, 2: 2})})
    assert (lookup.resolve("a").engine, lookup.resolve("a", "1").engine) == (second, first)
    assert first.names == (EngineName("a", 1, False),)
    assert second.names == (EngineName("a", 2, True),)


def test_what_is_as_it_was_stays_the_same_object() -> None:
    lookup = Lookup()
    lookup.show(engine(1), engine(2))
    lookup.rename({"a": StoredName(1, {1: 1})})
    before = lookup.resolve("a"), lookup.resolve("a", "1"), lookup.resolve("1")
    lookup.rename({"a": StoredName(1, {1: 1}), "b": StoredName(1, {1: 1})})
    assert all(
        was is now
        for was, now in zip(
            before, (lookup.resolve("a"), lookup.resolve("a", "1"), lookup.resolve("1")), strict=True
        )
    )


def test_a_change_costs_as_much_as_the_names_that_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = Lookup()
    lookup.show(*map(engine, range(1, 101)))
    names = {f"n{id}": StoredName(1, {1: id}) for id in range(1, 100)}
    lookup.rename(names)
    derived: list[int] = []
    label = lookup.label
    monkeypatch.setattr(
        lookup, "label", lambda engine, name: derived.append(engine.id) or label(engine, name)
    )
    lookup.rename({**names, "new": StoredName(1, {1: 100})})
    lookup.show(engine(7))
    assert derived == [100, 7]
