"""Bodies that are the raw data of the only input."""

import numpy as np
import pytest

from tests.fakes.runtime import TensorSpec
from trtserve.codec import raw
from trtserve.errors import InvalidInput


def spec(shape: list[int] | None, datatype: str = "FP32", name: str = "x") -> TensorSpec:
    return TensorSpec(name, datatype, shape)


def shape_of(size: int, shape: list[int] | None, batch_dim: int | None = None) -> list[int]:
    request = raw.decode([spec(shape)], batch_dim, bytes(size))  # type: ignore[list-item]
    ((name, datatype, found, data),) = request.inputs
    assert (name, datatype, bytes(memoryview(data).cast("B"))) == ("x", "FP32", bytes(size))  # type: ignore[call-overload]
    assert request.binary_outputs
    return found


@pytest.mark.parametrize(
    ("size", "shape", "batch_dim", "found"),
    [
        (24, [2, 3], None, [2, 3]),
        (4, [], None, []),
        (32, [-1, 4], None, [2, 4]),
        (0, [-1, 4], None, [0, 4]),
        (0, [0, 4], None, [0, 4]),
        (12, [1, -1], None, [1, 3]),
        (16, [-1, 4], 0, [1, 4]),
        (32, [-1, -1], 0, [1, 8]),
        (32, [-1, -1], 1, [8, 1]),
        (64, [2, -1, 4, -1], 3, [2, 2, 4, 1]),
    ],
)
def test_the_shape_follows_from_the_number_of_bytes(
    size: int, shape: list[int], batch_dim: int | None, found: list[int]
) -> None:
    assert shape_of(size, shape, batch_dim) == found


@pytest.mark.parametrize(
    ("size", "shape", "batch_dim", "sentence"),
    [
        (20, [2, 3], None, r"raw data of 20 bytes; the engine's input 'x', FP32 \[2, 3\], takes 24 bytes\."),
        (0, [2, 3], None, "takes 24 bytes"),
        (17, [-1, 4], None, "takes a multiple of 16 bytes"),
        (32, [-1, 4], 0, r"FP32 \[-1, 4\], takes 16 bytes for a batch of one"),
        (17, [-1, 4, -1], 0, "takes a multiple of 16 bytes for a batch of one"),
        (0, [-1, 0], None, "takes a multiple of 0 bytes"),
        (16, [-1, -1], None, r"'x', FP32 \[-1, -1\], has 2 variable dimensions, but the number of bytes"),
        (16, [-1, -1, -1], 0, "has 2 variable dimensions besides the batch's"),
        (16, None, None, "does not say what rank"),
    ],
)
def test_an_ambiguous_or_impossible_size_is_refused(
    size: int, shape: list[int] | None, batch_dim: int | None, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        shape_of(size, shape, batch_dim)


def test_only_an_engine_with_one_input_takes_a_raw_body() -> None:
    with pytest.raises(InvalidInput, match="engines with one input; this one has 'a', 'b'"):
        raw.decode([spec([1], name="a"), spec([1], name="b")], None, bytes(4))  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="this one has none"):
        raw.decode([], None, bytes(4))


def test_the_data_is_a_view_of_the_body() -> None:
    body = bytes(16)
    ((*_, data),) = raw.decode([spec([4])], None, memoryview(body)).inputs  # type: ignore[list-item]
    assert np.shares_memory(np.frombuffer(body, np.uint8), np.frombuffer(data, np.uint8))  # type: ignore[call-overload]
