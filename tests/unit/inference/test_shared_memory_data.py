"""What is read from shared memory regions and written to them, on real objects in /dev/shm."""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.shared_objects import DATA, descriptors, make
from trtserve.errors import Conflict, InvalidInput, NotFound, TrtserveError
from trtserve.inference.shared_memory import Regions


def test_what_is_written_is_in_the_object_and_nowhere_else(memory: Regions, key: str) -> None:
    path = make(key, bytes(100))
    memory.register("out", key, 10, 50)
    memory.write("out", 5, b"first")
    memory.write("out", 48, memoryview(b"!?"))
    memory.write("out", 50, b"")
    expected = bytearray(100)
    expected[15:20] = b"first"
    expected[58:60] = b"!?"
    assert path.read_bytes() == expected


@pytest.mark.parametrize(
    ("offset", "byte_size"),
    [(0, 51), (50, 1), (2**63, 1), (1, 2**64), (-1, 2), (0, -1), (True, 1), (0, True), (0, 1.5)],
)
def test_no_byte_outside_of_the_region_is_read_or_promised(
    memory: Regions, key: str, offset: Any, byte_size: Any
) -> None:
    make(key)
    memory.register("in", key, 10, 50)
    for use in (memory.check, memory.read):
        with pytest.raises(InvalidInput):
            use("in", offset, byte_size)


@pytest.mark.parametrize("offset", [41, -1, 2**63])
def test_no_byte_outside_of_the_region_is_written(memory: Regions, key: str, offset: int) -> None:
    path = make(key)
    memory.register("out", key, 10, 50)
    with pytest.raises(InvalidInput):
        memory.write("out", offset, bytes(10))
    assert path.read_bytes() == DATA


def uses(memory: Regions) -> list[Callable[[], object]]:
    return [
        lambda: memory.check("in", 0, 1),
        lambda: memory.read("in", 0, 1),
        lambda: memory.write("in", 0, b"x"),
    ]


def failures(memory: Regions, kind: type[TrtserveError]) -> list[str]:
    told = []
    for use in uses(memory):
        with pytest.raises(kind) as failure:
            use()
        told.append(str(failure.value))
    return told


def test_a_region_that_nobody_registered_is_not_found(memory: Regions) -> None:
    assert set(failures(memory, NotFound)) == {"There is no shared memory region 'in': register it first."}


def test_a_region_whose_object_was_removed_is_stale_also_when_there_is_a_new_one(
    memory: Regions, key: str
) -> None:
    path = make(key)
    memory.register("in", key, 0, 100)
    path.unlink()
    make(key, bytes(100))
    assert all("'in' is stale" in told for told in failures(memory, Conflict))
    assert path.read_bytes() == bytes(100)
    memory.unregister("in")
    memory.register("in", key, 0, 100)
    assert memory.read("in", 0, 100) == bytes(100)


def test_a_region_whose_object_was_shortened_is_an_error_until_it_has_grown_again(
    memory: Regions, key: str
) -> None:
    path = make(key)
    memory.register("in", key, 10, 50)
    os.truncate(path, 59)
    assert all(
        "been shortened" in told and "register a smaller region" in told
        for told in failures(memory, Conflict)
    )
    assert path.stat().st_size == 59
    os.truncate(path, 60)
    assert memory.read("in", 0, 50) == DATA[10:59] + b"\0"
    os.truncate(path, 10_000)
    memory.write("in", 49, b"x")
    with pytest.raises(InvalidInput):
        memory.read("in", 0, 51)


def test_an_object_that_is_shortened_while_it_is_read_is_an_error_of_that_read(
    memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(key)
    memory.register("in", key, 0, 100)
    pread = os.pread

    def shortened_before(number: int, length: int, offset: int) -> bytes:
        os.truncate(path, 40)
        return pread(number, length, offset)

    monkeypatch.setattr(os, "pread", shortened_before)
    with pytest.raises(Conflict, match="now has only 40"):
        memory.read("in", 0, 100)


def test_a_copy_that_the_system_makes_in_pieces_is_whole(
    memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(key)
    memory.register("in", key, 10, 80)
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda number, length, offset: pread(number, min(length, 7), offset))
    monkeypatch.setattr(os, "pwrite", lambda number, data, offset: pwrite(number, data[:7], offset))
    assert memory.read("in", 1, 79) == DATA[11:90]
    memory.write("in", 0, DATA[20:100])
    assert path.read_bytes() == DATA[:10] + DATA[20:100] + DATA[90:]


def test_a_failure_of_the_system_is_a_sentence(
    memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(key)
    memory.register("out", key, 0, 100)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Conflict, match="'out' cannot be used: No space left on device"):
        memory.write("out", 0, b"x")


def test_threads_register_use_and_unregister_regions_without_a_wrong_byte(memory: Regions, key: str) -> None:
    paths = [make(f"{key}-{number}", bytes([number]) * 1000) for number in range(4)]
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for round in range(200):
                name = f"{number}-{round % 3}"
                memory.register(name, paths[number].name, 0, 1000)
                if memory.read(name, 0, 1000) != bytes([number]) * 1000:
                    wrong.append(name)
                memory.unregister(name)
        except Exception as failure:
            wrong.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [descriptors(path) for path in paths] == [0, 0, 0, 0]
