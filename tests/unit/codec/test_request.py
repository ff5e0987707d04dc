"""The JSON and headers of a request, apart from the data of its tensors."""

import json
from contextlib import suppress
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tests import bodies
from tests.fakes.runtime import TensorSpec
from trtserve import codec
from trtserve.codec import Form, InferRequest
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import HIGH, LOW, NORMAL, RegionPart, RequestedOutput
from trtserve.errors import InvalidInput, TrtserveError, Unsupported

JSON = Headers({"Content-Type": "application/json"})


def tensor(**changes: object) -> dict[str, object]:
    """A tensor's description; a change to `...` removes the member."""
    described = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]} | changes
    return {key: value for key, value in described.items() if value is not ...}


def decode(request: object, headers: Headers = JSON) -> InferRequest:
    return bodies.decode(headers, json.dumps(request).encode())


def refusal(request: object) -> str:
    with pytest.raises(InvalidInput) as refused:
        decode(request)
    return str(refused.value)


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        (None, "None"),
        (4, "4"),
        ("2,2", "'2,2'"),
        ([2, -1], "[2, -1]"),
        ([2, 2.5], "[2, 2.5]"),
        ([2, -1.0], "[2, -1.0]"),
        ([2, 1e300], "[2, 1e+300]"),
        ([2, True], "[2, True]"),
        ([2, None], "[2, None]"),
        ([2, "2"], "[2, '2']"),
        ([2**63], f"[{2**63}]"),
        ([1] * 65, "[1, 1, 1, 1, 1, 1, 1, 1, ...]"),
    ],
)
def test_a_shape_is_a_list_of_integers(shape: object, shown: str) -> None:
    message = refusal({"inputs": [tensor(shape=shape)]})
    assert f"Tensor 'x' has the shape {shown}; it must be a list of whole numbers from 0" in message


def test_a_shape_too_large_for_any_memory_is_refused() -> None:
    message = refusal({"inputs": [tensor(shape=[2**62] * 64)]})
    assert "has 4 elements in its data" in message
    assert len(message) < 2_000


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ([], "The request is not a JSON object"),
        ({}, "must have `inputs`, a list"),
        ({"instances": [[1]], "x": 1}, "must have `inputs`, a list of tensors; it has instances, x."),
        ({"inputs": {"x": []}}, "The request's `inputs` is {'x': []}; it must be a list of tensors."),
        ({"inputs": ["x"]}, "Input 0 is not a JSON object"),
        ({"inputs": [tensor(name=...)]}, "Input 0 has no `name`."),
        ({"inputs": [tensor(name=1)]}, "Input 0 has the name 1; it must be a string"),
        ({"inputs": [tensor(name="x" * 1025)]}, "at most 1024 characters"),
        ({"inputs": [tensor(datatype=..., shape=...)]}, "Input 0 has no `shape` and no `datatype`."),
        ({"inputs": [tensor(datatype="float32")]}, "'float32'; allowed are BOOL, UINT8"),
        ({"inputs": [tensor(data=...)]}, "neither data nor parameters.binary_data_size"),
        ({"inputs": [tensor(parameters=[])]}, "parameters of tensor 'x' are not a JSON object"),
        ({"inputs": [], "parameters": 1}, "parameters of the request are not a JSON object"),
        ({"inputs": [], "id": 7}, "id is 7; it must be a string"),
        ({"inputs": [], "outputs": {}}, "must have `outputs`, a list"),
        ({"inputs": [], "outputs": ["y"]}, "Output 0 is not a JSON object"),
        ({"inputs": [], "outputs": [{}]}, "Output 0 has the name None"),
        (
            {"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            "binary_data is 1; it must be true or false",
        ),
        (
            {"inputs": [], "parameters": {"binary_data_output": "yes"}},
            "binary_data_output is 'yes'; it must be true or false",
        ),
        ({"inputs": [], "parameters": {"timeout": -1}}, "parameter timeout is -1"),
        ({"inputs": [], "parameters": {"timeout": 1.5}}, "parameter timeout is 1.5"),
        ({"inputs": [], "parameters": {"timeout": True}}, "parameter timeout is True"),
        ({"inputs": [], "parameters": {"priority": -1}}, "parameter priority is -1"),
        ({"inputs": [], "parameters": {"priority": 1.5}}, "parameter priority is 1.5"),
        ({"inputs": [], "parameters": {"timeout": 1e300}}, "parameter timeout is 1e+300"),
    ],
)
def test_a_missing_or_mistyped_member_is_named(request_: object, sentence: str) -> None:
    assert sentence in refusal(request_)


@pytest.mark.parametrize("name", ["sequence_id", "sequence_start", "sequence_end"])
def test_sequences_are_unsupported(name: str) -> None:
    for value in (1, 7.0, "seven", True, [1]):
        with pytest.raises(Unsupported, match=f"parameter {name}"):
            decode({"inputs": [], "parameters": {name: value}})
    for nothing in (0, 0.0, "", False, None):
        assert decode({"inputs": [], "parameters": {name: nothing}}).inputs == []


def test_every_integer_can_be_written_as_a_float() -> None:
    floats = decode(
        {
            "inputs": [
                tensor(shape=[2.0, 2.0]),
                {
                    "name": "r",
                    "datatype": "INT8",
                    "shape": [4.0],
                    "parameters": {
                        "shared_memory_region": "r",
                        "shared_memory_byte_size": 4.0,
                        "shared_memory_offset": 8.0,
                    },
                },
            ],
            "outputs": [{"name": "y", "parameters": {"classification": 0.0}}],
            "parameters": {"timeout": 5.0, "priority": 1.0},
        }
    )
    (x, r) = floats.inputs
    assert (x[2], r[2], r[3]) == ([2, 2], [4], RegionPart("r", 8, 4))
    assert {type(dim) for dim in (*x[2], *r[2])} == {int}
    assert (floats.timeout_ns, floats.priority) == (5_000, HIGH)


@pytest.mark.parametrize("classes", [-1, True, "3", 1.5, None])
def test_a_wrong_number_of_classes_is_refused(classes: object) -> None:
    output = {"name": "y", "parameters": {"classification": classes}}
    assert "classification of output 'y' is" in refusal({"inputs": [], "outputs": [output]})


def test_a_classification_is_read() -> None:
    asked = [
        {"name": name, "parameters": {"classification": count}} for name, count in (("y", 3), ("z", 0.0))
    ]
    outputs = decode({"inputs": [], "outputs": asked}).outputs
    assert outputs is not None
    assert [output.classes for output in outputs] == [3, 0]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty"),
        (b"{", "The body is not JSON"),
        (b'{"inputs": [{"shape": [NaN]}]}', "no NaN or Infinity"),
        (b"[" * 100_000, "The body is not JSON"),
        (b'{"inputs": ' + b"[" * 2_000 + b"]" * 2_000 + b"}", "The body is not JSON"),
        (b"\xff\xfe", "The body is not JSON"),
    ],
)
def test_a_body_that_is_not_json_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        bodies.decode(JSON, body)


def test_errors_quote_little_of_a_large_value() -> None:
    for request in (
        {"inputs": [], "id": ["x" * 1_000] * 100},
        {"inputs": [], "parameters": {"timeout": [[1] * 1_000] * 100}},
        {"inputs": [tensor(data={str(n): n for n in range(10_000)})]},
        {"inputs": [tensor(datatype="F" * 100_000)]},
    ):
        assert len(refusal(request)) < 500


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "a/b+json"])
def test_json_has_several_content_types(content_type: str) -> None:
    assert decode({"inputs": [tensor()]}, Headers({"Content-Type": content_type})).inputs
    assert decode({"inputs": [tensor()]}, Headers()).inputs


def test_the_refusal_of_a_content_type_lists_the_supported_ones() -> None:
    form = Headers({"Content-Type": "application/x-www-form-urlencoded"})
    with pytest.raises(InvalidInput, match="'application/x-www-form-urlencoded'; send application/json"):
        decode({"inputs": [tensor()]}, form)


@pytest.mark.parametrize(
    ("header", "parameter", "timeout_ns"),
    [
        (None, None, None),
        (None, 1500, 1_500_000),
        (None, 0, None),
        ("20", None, 20_000_000),
        ("20", 1500, 20_000_000),
        ("0", 1500, None),
        (None, 2**64 - 1, codec.LONGEST_NS),
        ("9" * 18, None, codec.LONGEST_NS),
    ],
)
def test_a_request_can_set_its_timeout(
    header: str | None, parameter: int | None, timeout_ns: int | None
) -> None:
    parameters = {} if parameter is None else {"timeout": parameter}
    headers = Headers({} if header is None else {"inference-timeout-ms": header})
    assert decode({"inputs": [], "parameters": parameters}, headers).timeout_ns == timeout_ns


@pytest.mark.parametrize("header", ["soon", "-1", "1.5", "", "²", "9" * 5_000])
def test_a_timeout_is_a_whole_number_of_milliseconds(header: str) -> None:
    with pytest.raises(InvalidInput, match=r"Inference-Timeout-Ms is .*; it must be a whole number"):
        decode({"inputs": []}, Headers({"Inference-Timeout-Ms": header}))


SPECS = [TensorSpec("a", "FP32", [1]), TensorSpec("b", "FP32", [1])]


def selected(**request: object) -> list[tuple[int, bool]]:
    return codec.select(decode({"inputs": []} | request), SPECS)


def test_outputs_are_selected_and_ordered() -> None:
    assert selected() == selected(outputs=[]) == [(0, False), (1, False)]
    assert selected(outputs=[{"name": "b"}, {"name": "a"}]) == [(1, False), (0, False)]
    assert selected(outputs=[{"name": "b"}]) == [(1, False)]


def test_binary_outputs_are_requested_one_by_one_or_together() -> None:
    listed = [{"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}]
    assert selected(outputs=listed) == [(0, True), (1, False)]
    assert selected(parameters={"binary_data_output": True}) == [(0, True), (1, True)]
    listed[0]["parameters"] = {"binary_data": False}
    assert selected(outputs=listed, parameters={"binary_data_output": True}) == [(0, False), (1, True)]


class CountingName(str):
    """A name that counts comparisons between names."""

    compared: ClassVar[int] = 0

    def __eq__(self, other: object) -> bool:
        CountingName.compared += 1
        return str.__eq__(self, other)  # type: ignore[no-any-return]

    __hash__ = str.__hash__


def test_selecting_outputs_compares_each_name_once() -> None:
    many = [f"y{number}" for number in range(2_000)]
    specs = [TensorSpec(name, "FP32", [1]) for name in many]
    asked = [RequestedOutput(CountingName(name), False) for name in [*many, many[-1]]]
    CountingName.compared = 0
    with pytest.raises(InvalidInput, match="asks for output 'y1999' twice"):
        codec.select(InferRequest(inputs=[], outputs=asked), specs)  # type: ignore[arg-type]
    assert CountingName.compared <= 2 * len(asked)


def test_an_unknown_output_is_reported_before_a_later_duplicate() -> None:
    asked = [RequestedOutput(name, False) for name in ("unknown", "y", "y")]
    with pytest.raises(InvalidInput, match="no output 'unknown'"):
        codec.select(InferRequest(inputs=[], outputs=asked), [TensorSpec("y", "FP32", [1])])  # type: ignore[list-item]


def test_an_unknown_or_duplicate_output_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no output 'c'; its outputs: 'a', 'b'"):
        selected(outputs=[{"name": "c"}])
    with pytest.raises(InvalidInput, match="asks for output 'b' twice"):
        selected(outputs=[{"name": "b"}, {"name": "a"}, {"name": "b"}])


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", Form.PROTOCOL),
        ("application/json", Form.PROTOCOL),
        ("Application/X-Safetensors", Form.SAFETENSORS),
    ],
)
def test_the_answer_has_the_form_that_is_accepted(accept: str, form: Form) -> None:
    assert decode({"inputs": []}, Headers({"Accept": accept})).answer is form


# -- arbitrary bodies

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y"]) | JUNK,
        "datatype": st.sampled_from(sorted(DATATYPES)) | JUNK,
        "shape": st.lists(st.integers(0, 3), max_size=3) | JUNK,
        "data": st.lists(st.integers(-1, 300) | st.floats(), max_size=9) | JUNK,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 20)}) | JUNK,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | JUNK},
    optional={"id": JUNK, "outputs": st.lists(TENSORS, max_size=2) | JUNK, "parameters": JUNK},
)


@given(REQUESTS | JUNK)
def test_any_json_is_decoded_or_refused(request: object) -> None:
    with suppress(TrtserveError):
        assert isinstance(decode(request), InferRequest)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with suppress(TrtserveError):
        assert isinstance(bodies.decode(JSON, body), InferRequest)


@pytest.mark.parametrize(("given", "priority"), [(0, NORMAL), (1, HIGH), (2, NORMAL), (3, LOW), (4, NORMAL)])
def test_an_unknown_priority_becomes_the_default(given: int, priority: int) -> None:
    assert decode({"inputs": [tensor()], "parameters": {"priority": given}}).priority == priority
