"""A config's tensors, compared with those of the plan."""

import pytest

from tests.fakes.values import EngineInfo, TensorSpec
from trtserve.errors import InvalidInput
from trtserve.folder.model_config import FolderConfig

INFO = EngineInfo(
    id=1,
    name="net",
    backend="openvino",
    device="cpu",
    instances=1,
    max_queue_size=8,
    inputs=[TensorSpec("x", "FP32", [-1, 3, -1]), TensorSpec("ids", "INT64", [-1, 4])],
    outputs=[TensorSpec("y", "FP32", [-1, 10]), TensorSpec("any", "FP32", None)],
)


def differs(text: str) -> str:
    with pytest.raises(InvalidInput) as refused:
        FolderConfig.read(text.encode(), "net").tensors.check(INFO)
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: [ 3, 8 ] }",
        "max_batch_size: 4 input { name: 'x' dims: [ 3, -1 ] } output { name: 'y' dims: 10 }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3, 224 ] }",
        "input { name: 'x' data_type: TYPE_FP32 }",
        "output { name: 'any' data_type: TYPE_FP32 dims: [ 1, 2, 3, 4 ] }",
    ],
)
def test_a_config_that_describes_the_plan_is_accepted(text: str) -> None:
    FolderConfig.read(text.encode(), "net").tensors.check(INFO)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("input { name: 'X' }", "the plan has no input 'X'; it has 'x' and 'ids'"),
        ("output { name: 'x' }", "the plan has no output 'x'; it has 'y' and 'any'"),
        ("input { name: 'ids' data_type: TYPE_INT32 }", "the input 'ids' is INT64 in the plan, not INT32"),
        ("input { name: 'x' data_type: TYPE_STRING }", "the input 'x' is FP32 in the plan, not BYTES"),
        (
            "input { name: 'x' dims: [ 3, 8 ] }",
            "the input 'x' has the shape [-1, 3, -1] in the plan, not [3, 8]",
        ),
        (
            "max_batch_size: 2 output { name: 'y' dims: [ 11 ] }",
            "the output 'y' has the shape [-1, 10] in the plan, not [-1, 11]",
        ),
    ],
)
def test_a_config_that_describes_another_plan_is_refused(text: str, told: str) -> None:
    assert told in differs(text)


def test_all_differences_are_told_at_once() -> None:
    sentence = differs("input { name: 'a' } input { name: 'b' } output { name: 'c' }")
    assert all(name in sentence for name in ("'a'", "'b'", "'c'"))
