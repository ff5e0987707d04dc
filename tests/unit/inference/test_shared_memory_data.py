"""Reading and writing shared memory regions on real objects in /dev/shm."""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runtime_ext import FilePart
from tests.unit.shared_objects import DATA, descriptors, make
from trtserve.errors import Conflict, InvalidInput, NotFound, TrtserveError
from trtserve.inference.shared_memory import Regions


def test_a_write_changes_the_object_and_nothing_else(memory: Regions, key: str) -> None:
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
def test_a_read_or_a_promise_outside_the_region_is_refused(
    memory: Regions, key: str, offset: Any, byte_size: Any
) -> None:
    make(key)
    memory.register("in", key, 10, 50)
    for use in (memory.check, memory.read):
        with pytest.raises(InvalidInput):
            use("in", offset, byte_size)


@pytest.mark.parametrize("offset", [41, -1, 2**63])
def test_a_write_outside_the_region_is_refused(memory: Regions, key: str, offset: int) -> None:
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
    sentences = []
    for use in uses(memory):
        with pytest.raises(kind) as failure:
            use()
        sentences.append(str(failure.value))
    return sentences


def test_an_unregistered_region_is_not_found(memory: Regions) -> None:
    assert set(failures(memory, NotFound)) == {"There is no shared memory region 'in': register it first."}


def test_a_region_of_a_removed_object_is_stale_even_if_a_new_object_exists(memory: Regions, key: str) -> None:
    path = make(key)
    memory.register("in", key, 0, 100)
    path.unlink()
    make(key, bytes(100))
    assert all("'in' is stale" in sentences for sentences in failures(memory, Conflict))
    assert path.read_bytes() == bytes(100)
    memory.unregister("in")
    memory.register("in", key, 0, 100)
    assert memory.read("in", 0, 100) == bytes(100)


def test_a_region_of_a_shortened_object_fails_until_the_object_grows_again(memory: Regions, key: str) -> None:
    path = make(key)
    memory.register("in", key, 10, 50)
    os.truncate(path, 59)
    assert all(
        "been shortened" in sentences and "register a smaller region" in sentences
        for sentences in failures(memory, Conflict)
    )
    assert path.stat().st_size == 59
    os.truncate(path, 60)
    assert memory.read("in", 0, 50) == DATA[10:59] + b"\0"
    os.truncate(path, 10_000)
    memory.write("in", 49, b"x")
    with pytest.raises(InvalidInput):
        memory.read("in", 0, 51)


def test_a_read_fails_if_its_object_is_shortened_meanwhile(
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


def test_a_short_input_is_copied_at_once(memory: Regions, key: str) -> None:
    path = make(key)
    memory.register("in", key, 10, 50)
    data = memory.data("in", 5, 20)
    path.write_bytes(bytes(100))
    assert data == DATA[15:35]


def test_a_long_input_is_left_to_the_execution_with_its_object(memory: Regions, key: str) -> None:
    path = make(key, bytes(100_000))
    memory.register("in", key, 10, 99_000)
    data = memory.data("in", 5, 98_000)
    assert isinstance(data, FilePart)
    memory.unregister("in")
    assert descriptors(path) == 1
    del data
    assert descriptors(path) == 0


def test_a_long_input_outside_its_region_is_refused(memory: Regions, key: str) -> None:
    path = make(key, bytes(100_000))
    memory.register("in", key, 10, 99_000)
    with pytest.raises(InvalidInput):
        memory.data("in", 1001, 98_000)
    os.truncate(path, 50_000)
    with pytest.raises(Conflict):
        memory.data("in", 0, 98_000)


def test_a_copy_in_pieces_is_completed(memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(key)
    memory.register("in", key, 10, 80)
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda number, length, offset: pread(number, min(length, 7), offset))
    monkeypatch.setattr(os, "pwrite", lambda number, data, offset: pwrite(number, data[:7], offset))
    assert memory.read("in", 1, 79) == DATA[11:90]
    memory.write("in", 0, DATA[20:100])
    assert path.read_bytes() == DATA[:10] + DATA[20:100] + DATA[90:]


def test_a_system_error_becomes_a_sentence(
    memory: Regions, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(key)
    memory.register("out", key, 0, 100)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Conflict, match="'out' cannot be used: No space left on device"):
        memory.write("out", 0, b"x")


def test_concurrent_threads_never_read_or_write_a_wrong_byte(memory: Regions, key: str) -> None:
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
