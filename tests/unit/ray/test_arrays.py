"""numpy's arrays become inputs, and outputs become arrays, whatever their type and layout."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.fakes.values import Output
from trtserve.errors import InvalidInput, Unsupported
from trtserve.ray.arrays import inputs_of, outputs_of


def there_and_back(array: Any) -> np.ndarray[Any, Any]:
    ((name, datatype, shape, data),) = inputs_of({"x": array})
    return outputs_of([Output.of(name, datatype, shape, data)])["x"]  # type: ignore[list-item]


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (0, 4), (2, 3)])
def test_an_array_of_any_type_and_shape_stays_as_it_is(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    back = there_and_back(array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)


def test_layouts_and_byte_orders_are_those_that_the_runtime_takes() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    assert np.array_equal(there_and_back(array), array)


def test_a_bfloat16_comes_back_as_float32_with_the_same_values() -> None:
    array = np.array([1.5, -2.25], ml_dtypes.bfloat16)
    back = there_and_back(array)
    assert back.dtype == np.float32
    assert np.array_equal(back, array.astype(np.float32))


def test_an_array_without_numbers_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidInput, match="Input 'x' is an array of <U1"):
        inputs_of({"x": np.array(["a"])})


def test_an_output_of_strings_is_refused() -> None:
    with pytest.raises(Unsupported, match="Output 'y' is of BYTES"):
        outputs_of([Output.of("y", "BYTES", [1], b"\1\0\0\0a")])  # type: ignore[list-item]
