"""Inputs that the execution reads from a file, such as a client's shared memory."""

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Harness, to_numpy
from tests.seam.gated import Gates
from tests.submitting import Tensor, submit

LARGE = (6 << 20) // 4 + 3  # numbers of 4 bytes, over several chunks of a copy by several threads


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "data", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def part(file: int, array: np.ndarray, position: int = 0, owner: object = None) -> Tensor:
    """The array as an input "x" whose bytes are written to the file."""
    os.pwrite(file, array.tobytes(), position)
    datatype = {"float32": "FP32", "int8": "INT8"}[array.dtype.name]
    data = runtime_ext.FilePart(file, position, array.nbytes, owner)
    return ("x", datatype, list(array.shape), data)


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal(count).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 1000, LARGE])
def test_an_input_is_read_from_its_part_of_the_file(harness: Harness, file: int, count: int) -> None:
    engine = harness.load_toy("input x FP32 -1\noutput y x 2")
    x = numbers(count)
    os.pwrite(file, b"before", 0)
    (done,) = harness.wait(submit(harness.runtime, engine, [part(file, x, 6)]))
    os.pwrite(file, b"behind", 6 + x.nbytes)
    assert np.array_equal(to_numpy(done.outputs[0]), 2 * x)


@pytest.mark.parametrize("dim", [0, 1])
def test_requests_from_files_and_from_memory_share_a_batch(
    harness: Harness, gates: Gates, file: int, dim: int
) -> None:
    gate = gates.new()
    options = runtime_ext.BatchOptions(max_batch_size=8, batch_dims={"x": dim, "y": dim})
    engine = harness.load_toy(f"input x INT8 -1 -1\noutput y x 2\ngate {gate}", batch=options)
    arrays = [np.full((3, 3), number, np.int8) for number in range(1, 6)]
    shapes = [array[:, :2] if dim else array[:2] for array in arrays]
    first = submit(harness.runtime, engine, [("x", "INT8", [3, 3], arrays[0])])
    gates.wait_for(gate, 1)  # the first keeps the instance busy
    tickets = []
    for number, array in enumerate(map(np.ascontiguousarray, shapes)):
        in_file = part(file, array, 16 * number)
        tickets.append(
            submit(
                harness.runtime,
                engine,
                [in_file if number % 2 else ("x", "INT8", list(array.shape), array)],
            )
        )
    gates.open(gate)
    harness.wait(first)
    for done, array in zip(harness.wait(*tickets), shapes, strict=True):
        assert np.array_equal(to_numpy(done.outputs[0]), 2 * array)


@pytest.mark.parametrize("count", [4, LARGE])
def test_a_file_that_was_shortened_fails_its_own_request_alone(
    harness: Harness, gates: Gates, file: int, count: int
) -> None:
    gate = gates.new()
    plan = f"input x FP32 -1 -1\noutput y x 2\ngate {gate}"
    engine = harness.load_toy(plan, batch=runtime_ext.BatchOptions(max_batch_size=8))
    x = numbers(count).reshape(1, -1)
    first = submit(harness.runtime, engine, [("x", "FP32", [1, count], x)])
    gates.wait_for(gate, 1)
    short = submit(harness.runtime, engine, [part(file, x)])
    other = submit(harness.runtime, engine, [("x", "FP32", [1, count], x)])
    os.ftruncate(file, x.nbytes - 1)
    gates.open(gate)
    _, refused, served = harness.wait(first, short, other)
    assert (refused.kind, refused.message) == (
        "Conflict",
        "the shared memory of an input has been shortened since it was checked",
    )
    assert np.array_equal(to_numpy(served.outputs[0]), 2 * x)


def test_a_file_that_cannot_be_read_fails_its_request(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_toy("input x FP32 -1\noutput y x 2")
    number = os.open(tmp_path / "written", os.O_WRONLY | os.O_CREAT)
    (done,) = harness.wait(
        submit(harness.runtime, engine, [("x", "FP32", [1], runtime_ext.FilePart(number, 0, 4, None))])
    )
    os.close(number)
    assert (done.kind, done.message) == (
        "Conflict",
        "the shared memory of an input cannot be read: Bad file descriptor",
    )


def test_a_part_of_another_length_than_its_input_is_refused(harness: Harness, file: int) -> None:
    engine = harness.load_toy("input x FP32 -1\noutput y x 2")
    with pytest.raises(runtime_ext.Error, match=r"input 'x' has 5 bytes; FP32 \[1\] takes 4"):
        submit(harness.runtime, engine, [("x", "FP32", [1], runtime_ext.FilePart(file, 0, 5, None))])


@pytest.mark.parametrize("numbers", [(-1, 0, 4), (0, -1, 4), (0, 0, -4)])
def test_a_part_with_a_negative_number_is_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(runtime_ext.Error, match="none may be negative"):
        runtime_ext.FilePart(*numbers, None)


class Owner:
    """Keeps a file open."""


def test_the_owner_of_a_file_is_kept_until_the_completion_is_taken(
    harness: Harness, gates: Gates, file: int
) -> None:
    gate = gates.new()
    engine = harness.load_toy(f"input x FP32 -1\noutput y x 2\ngate {gate}")
    owner = Owner()
    kept = weakref.ref(owner)
    ticket = submit(harness.runtime, engine, [part(file, numbers(4), owner=owner)])
    gates.wait_for(gate, 1)
    del owner
    gc.collect()
    assert kept() is not None
    gates.open(gate)
    harness.wait(ticket)
    gc.collect()
    assert kept() is None
