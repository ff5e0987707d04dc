"""Classes of outputs: which are the greatest, how they are written, and what has none."""

import json
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from runtime_ext import Error, top_classes
from tests.fakes.runtime import Output, TensorSpec
from trtserve import codec
from trtserve.codec import classes, open_inference
from trtserve.codec.request import Form, InferRequest
from trtserve.errors import InvalidInput


def strings(packed: bytes) -> list[str]:
    """The elements of a BYTES tensor."""
    found = []
    while packed:
        end = 4 + int.from_bytes(packed[:4], "little")
        found.append(packed[4:end].decode())
        packed = packed[end:]
    return found


def best(
    array: np.ndarray, datatype: str, count: int, items: int = 1, labels: Sequence[str] = ()
) -> list[str]:
    return strings(top_classes(array.tobytes(), datatype, items, count, labels))


@pytest.mark.parametrize(
    ("datatype", "dtype", "values", "expected"),
    [
        ("FP32", np.float32, [0.25, 3.5, -1, 0.75], ["3.500000:1", "0.750000:3"]),
        ("FP64", np.float64, [1e300, 2e-9], [f"{1e300:.6f}:0", "0.000000:1"]),
        ("FP16", np.float16, [0.5, 65504], ["65504.000000:1", "0.500000:0"]),
        ("BF16", ml_dtypes.bfloat16, [-2, -1.5], ["-1.500000:1", "-2.000000:0"]),
        ("INT8", np.int8, [-128, 127, 0], ["127:1", "0:2"]),
        ("UINT64", np.uint64, [2**64 - 1, 0], ["18446744073709551615:0", "0:1"]),
        ("FP32", np.float32, [np.nan, np.inf, -np.inf], ["inf:1", "-inf:2"]),
        ("INT32", np.int32, [7, 7, 7], ["7:0", "7:1"]),
    ],
)
def test_the_greatest_elements_are_written_with_their_indices(
    datatype: str, dtype: Any, values: list[float], expected: list[str]
) -> None:
    assert best(np.array(values, dtype), datatype, 2) == expected


def test_each_item_has_classes_of_its_own_with_labels_as_far_as_there_are_any() -> None:
    scores = np.array([[1, 3, 2], [9, 7, 8]], np.int16)
    assert best(scores, "INT16", 2, items=2, labels=["cat", "hawk: red"]) == [
        *("3:1:hawk: red", "2:2"),
        *("9:0:cat", "8:2"),
    ]
    assert best(scores[:0], "INT16", 2, items=0) == []


@pytest.mark.parametrize(("size", "items", "count"), [(16, 1, 5), (16, 2, 3), (16, 3, 1), (0, 1, 1)])
def test_more_classes_than_elements_and_uneven_parts_are_refused(size: int, items: int, count: int) -> None:
    with pytest.raises(Error, match=f"of {items} parts with .* elements, {count} of each are asked for"):
        top_classes(bytes(size), "FP32", items, count, ())


@given(st_numpy.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40))), st.data())
def test_the_classes_are_those_of_a_stable_sort(scores: np.ndarray, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, scores.shape[1]))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]  # it puts NaN last
    found = [int(text.split(":")[1]) for text in best(scores, "FP32", count, items=len(scores))]
    assert found == order.ravel().tolist()


def asking(count: int, **more: Any) -> InferRequest:
    parameters = {"classification": count} | more
    document = {"inputs": [], "outputs": [{"name": "x"}, {"name": "y", "parameters": parameters}]}
    return open_inference.decode(json.dumps(document).encode(), memoryview(b""))


def specs(datatype: str = "FP32") -> list[TensorSpec]:
    return [TensorSpec("y", datatype, [-1, 4]), TensorSpec("x", "FP32", [1])]


OUTPUTS = [
    Output.of("y", "FP32", [2, 4], np.array([[1, 2, 4, 3], [5, 8, 6, 7]], np.float32)),
    Output.of("x", "FP32", [1], np.array([0.5], np.float32)),
]


@pytest.mark.parametrize(
    ("batched", "count", "shape", "expected"),
    [
        (True, 1, [2, 1], ["4.000000:2:c", "8.000000:1:b"]),
        (False, 2, [2], ["8.000000:5", "7.000000:7"]),
        (True, 99, [2, 4], None),
    ],
)
def test_an_answer_has_classes_in_place_of_the_tensor(
    batched: bool, count: int, shape: list[int], expected: list[str] | None
) -> None:
    request = asking(count)
    selected = codec.select(request, specs())  # type: ignore[arg-type]
    labels = {"y": ["a", "b", "c"]}
    answered = classes.classified(request, OUTPUTS, selected, labels, batched=batched)  # type: ignore[arg-type]
    parts, _ = codec.encode_parts(request, answered, selected, model_name="m", model_version="1")
    x, y = json.loads(b"".join(parts))["outputs"]
    assert x["data"] == [0.5]
    assert (y["datatype"], y["shape"]) == ("BYTES", shape)
    assert expected is None or y["data"] == expected


@pytest.mark.parametrize(
    ("datatype", "more", "answer", "sentence"),
    [
        ("BOOL", {}, Form.PROTOCOL, "output 'y', which is BOOL: only numbers are ranked"),
        ("BYTES", {}, Form.PROTOCOL, "which is BYTES"),
        ("FP32", {}, Form.SAFETENSORS, "safetensors, which has no strings"),
        (
            "FP32",
            {"shared_memory_region": "r", "shared_memory_byte_size": 64},
            Form.PROTOCOL,
            "in shared memory: the length of their text",
        ),
    ],
)
def test_classes_that_cannot_be_answered_are_refused(
    datatype: str, more: dict[str, Any], answer: Form, sentence: str
) -> None:
    request = asking(2, **more)
    request.answer = answer
    with pytest.raises(InvalidInput, match=sentence):
        codec.select(request, specs(datatype))  # type: ignore[arg-type]
