"""The example of a request, for a client that sent something else."""

import pytest

from tests.fakes.runtime import ShapeRange, TensorSpec
from trtserve.inference.example import example

IMAGE = ShapeRange([1, 3, 224, 224], [8, 3, 224, 224], [32, 3, 224, 224])


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([], '{"inputs": []}'),
        (
            [TensorSpec("x", "INT64", [-1, 2])],
            '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [0, 0]}]}',
        ),
        (
            [TensorSpec("on", "BOOL", []), TensorSpec('"', "BYTES", None)],
            '{"inputs": [{"name": "on", "shape": [], "datatype": "BOOL", "data": [false]}, '
            '{"name": "\\"", "shape": [1], "datatype": "BYTES", "data": [""]}]}',
        ),
        (
            [TensorSpec("image", "FP32", [-1, 3, 224, 224], [IMAGE])],
            '{"inputs": [{"name": "image", "shape": [1, 3, 224, 224], "datatype": "FP32", '
            '"data": [0, 0, … 150528 values]}]}',
        ),
    ],
)
def test_it_has_every_input_in_its_least_size(specs: list[TensorSpec], expected: str) -> None:
    assert example(specs) == f"For this engine send {expected}."


def test_an_engine_with_many_inputs_has_a_short_one() -> None:
    assert example([TensorSpec("x", "FP32", [1])] * 6).endswith('"data": [0]}, … 2 more]}.')
