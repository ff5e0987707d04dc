"""Shared memory regions on real objects in /dev/shm: registering and unregistering."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.shared_objects import DATA, SHM, descriptors, make
from trtserve.errors import Conflict, InvalidInput, NotFound, Unsupported
from trtserve.inference import shared_memory
from trtserve.inference.shared_memory import Regions
from trtserve.settings import Settings

# -- registering


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_region_is_part_of_an_object_whose_key_may_begin_with_a_slash(
    memory: Regions, key: str, slash: str
) -> None:
    make(key)
    memory.register("in", slash + key, 10, 50.0)  # a float, as some clients write in JSON
    assert memory.status() == [{"name": "in", "key": slash + key, "offset": 10, "byte_size": 50}]
    assert memory.status("in") == memory.status("") == memory.status()
    assert memory.read("in", 0, 50) == DATA[10:60]
    assert memory.read("in", 49, 1) == DATA[59:60]
    assert memory.read("in", 50, 0) == b""


def test_shared_memory_is_off_without_allowed_keys(key: str) -> None:
    make(key)
    for patterns in ("", " , "):
        memory = Regions(Settings(shared_memory=patterns))
        assert not memory.enabled
        with pytest.raises(Unsupported, match="--shared-memory"):
            memory.register("in", key, 0, 1)
        assert memory.status() == []
        memory.unregister("in")
        memory.unregister_all()


@pytest.mark.parametrize("patterns", ["other", "other*,*-tes", "TRTSERVE-*", "trtserve-test-"])
def test_a_key_that_matches_no_pattern_is_refused_with_the_patterns(key: str, patterns: str) -> None:
    make(key)
    memory = Regions(Settings(shared_memory=patterns))
    with pytest.raises(InvalidInput, match="Allowed are "):
        memory.register("in", f"/{key}", 0, 1)
    assert memory.status() == []


@pytest.mark.parametrize("patterns", ["*", "other, trtserve-test-*", "/trtserve-?est-*"])
def test_a_pattern_is_a_shell_glob_and_its_leading_slash_is_ignored(key: str, patterns: str) -> None:
    make(key)
    memory = Regions(Settings(shared_memory=patterns))
    memory.register("in", f"/{key}", 0, 100)
    assert memory.read("in", 0, 100) == DATA


def test_a_registered_name_is_refused_even_for_the_same_region(memory: Regions, key: str) -> None:
    path = make(key)
    memory.register("in", key, 0, 50)
    for offset in (0, 1):
        with pytest.raises(Conflict, match="'in' is registered already"):
            memory.register("in", key, offset, 50)
    memory.register("out", key, 0, 50)
    assert descriptors(path) == 2
    memory.unregister("in")
    memory.register("in", key, 50, 50)
    assert memory.read("in", 0, 50) == DATA[50:]


@pytest.mark.parametrize(
    ("offset", "byte_size", "kind"),
    [
        (0, 101, "has 100"),
        (100, 1, "has 100"),
        (1, 100, "has 100"),
        (2**63, 2**63, "has 100"),
        (2**64 - 1, 2, "has 100"),
        (-1, 1, "offset"),
        (0, 0, "byte_size"),
        (0, -1, "byte_size"),
        (True, 1, "offset"),
        (0, True, "byte_size"),
        (0.5, 1, "offset"),
        (0, 1e300, "byte_size"),
        (0, "1", "byte_size"),
        (0, None, "byte_size"),
    ],
)
def test_a_region_must_be_whole_bytes_within_the_object(
    memory: Regions, key: str, offset: Any, byte_size: Any, kind: str
) -> None:
    path = make(key)
    with pytest.raises(InvalidInput, match=kind):
        memory.register("in", key, offset, byte_size)
    assert memory.status() == []
    assert descriptors(path) == 0


@pytest.mark.parametrize(
    "given", ["", "a/b", "/a/b", "//a", ".", "..", "/..", "/", "a/", "a\0b", "\ud800", "a" * 300, 7, None]
)
@pytest.mark.parametrize("patterns", ["*"])
def test_a_key_is_a_single_file_name(given: Any, patterns: str) -> None:
    memory = Regions(Settings(shared_memory=patterns))
    with pytest.raises(InvalidInput):
        memory.register("in", given, 0, 1)


@pytest.mark.parametrize("name", ["", "a" * 256, "a\nb", 7, None, ["in"]])
def test_a_region_has_a_printable_name(memory: Regions, key: str, name: Any) -> None:
    make(key)
    with pytest.raises(InvalidInput, match="The name of a shared memory region is"):
        memory.register(name, key, 0, 1)


def test_a_key_with_too_many_bytes_is_refused(memory: Regions) -> None:
    with pytest.raises(InvalidInput, match="too long"):
        memory.register("in", "trtserve-test-" + "ä" * 200, 0, 1)


def test_a_key_without_an_object_is_not_found(memory: Regions, key: str) -> None:
    with pytest.raises(NotFound, match="no shared memory object"):
        memory.register("in", key, 0, 1)


def link(path: Path) -> None:
    target = make(f"{path.name}-target")
    path.symlink_to(target)


@pytest.mark.parametrize("make_other", [link, os.mkfifo, os.mkdir])
def test_only_a_regular_file_is_an_object(
    memory: Regions, key: str, make_other: Callable[[Path], None]
) -> None:
    make_other(SHM / key)
    with pytest.raises(InvalidInput, match="a link, a folder or a device"):
        memory.register("in", key, 0, 1)
    assert memory.status() == []


def test_the_number_of_regions_is_limited(memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(key)
    monkeypatch.setattr(shared_memory, "MOST_REGIONS", 3)
    for name in "abc":
        memory.register(name, key, 0, 1)
    with pytest.raises(Conflict, match=r"3 shared memory regions.*: unregister one first"):
        memory.register("d", key, 0, 1)
    assert descriptors(path) == 3
    memory.unregister("a")
    memory.register("d", key, 0, 1)


# -- unregistering


def test_unregistering_closes_the_object_and_ignores_unknown_names(memory: Regions, key: str) -> None:
    path = make(key)
    for name in "abc":
        memory.register(name, key, 0, 1)
    memory.unregister("a")
    memory.unregister("a")
    memory.unregister("nobody")
    assert descriptors(path) == 2
    assert [each["name"] for each in memory.status()] == ["b", "c"]
    memory.unregister_all()
    assert descriptors(path) == 0
    assert memory.status() == []
    with pytest.raises(NotFound, match="no shared memory region 'b'"):
        memory.status("b")


def test_closing_closes_every_object(key: str) -> None:
    path = make(key)
    memory = Regions(Settings(shared_memory="*"))
    memory.register("in", key, 0, 1)
    memory.close()
    assert descriptors(path) == 0


def test_a_region_unregistered_during_a_read_is_read_to_its_end(
    memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(key)
    memory.register("in", key, 0, 100)
    pread = os.pread

    def unregistered_meanwhile(number: int, length: int, offset: int) -> bytes:
        memory.unregister("in")
        # If the object had been closed, a newly opened file would get its descriptor.
        other = os.open("/dev/zero", os.O_RDONLY)
        try:
            return pread(number, length, offset)
        finally:
            os.close(other)

    monkeypatch.setattr(os, "pread", unregistered_meanwhile)
    assert memory.read("in", 0, 100) == DATA
    assert descriptors(path) == 0
