"""Documents that are read like an earlier one say exactly what they say when they are read alone."""

import json

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from runtime_ext import JsonLayout, cut_json
from tests.fuzz.alike_json import FORMS, accepted, check_alike
from trtserve.codec import json_alike

# In the order of their places in a form.
LISTS = {"x": "[1, 2.5, -3, 4e2]", "y": "[7,8,9]"}
NUMBERS = st.sampled_from(
    [
        *("0", "1", "-1", "-0", "-0.0", "1.0", "0.1", "2e0", "1.5", "true", "false", "1e400", "-1e400"),
        *("16777217", "3.5e38", "1e-400", "1e-46", "65536", "32767", "32768", "-32768", "9007199254740993.0"),
        *("123456789012345678901234567890", "0.30000000000000004", "3.0000000000000000000001"),
    ]
) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
HOSTILE = st.sampled_from(
    [
        *("null", "NaN", "Infinity", "01", "1.", ".5", "+1", "--1", "1e", '"1"', "{}", "[]", "[1]", "", " "),
        *("\0", "\1", "1]", "[1", "1,", "é", "\ufeff1", "1 2", "0x1", "tru"),
        *('1],"data":[2', '1]}, {"name":"z","data":[1'),
    ]
)
TEXTS = st.lists(NUMBERS, max_size=5).map(lambda numbers: f"[{', '.join(numbers)}]") | st.builds(
    lambda numbers, at, other: f"[{','.join([*numbers[:at], other, *numbers[at:]])}]",
    st.lists(NUMBERS, min_size=2, max_size=4),
    st.integers(0, 4),
    HOSTILE,
)
NESTED = st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=2, max_size=2).map(
    lambda rows: "[" + ",".join("[" + " ,".join(row) + "]" for row in rows) + "]"
)
IDS = st.text("abc-19 /{}[]:,", max_size=5) | st.sampled_from(
    ["é", "\\u0041", '\\"', "\\", "\x01", "\0", '"', '","id":"b', "\x7f", "\udc80"]
)


def filled(form: str, texts: list[str]) -> bytes:
    return (form % tuple(texts)).encode("utf-8", "surrogateescape")


def places(form: str) -> list[str]:
    """What the places of a form are for."""
    found = []
    for at in range(len(form)):
        if form.startswith("%s", at):
            before = form[:at].rstrip()
            is_id = before.endswith('"')
            found.append("id" if is_id else "y" if before[: before.rindex('"data"')].endswith("{") else "x")
    return found


@given(st.sampled_from(FORMS), st.data())
def test_a_document_like_another_says_what_it_says_alone(form: str, data: st.DataObject) -> None:
    kinds = places(form)
    first = [LISTS.get(kind, "first") for kind in kinds]
    if "BOOL" in form:
        first[0] = "[true,false,1,0]"
    second = [data.draw(IDS if kind == "id" else TEXTS | NESTED) for kind in kinds]
    check_alike(filled(form, first), filled(form, second))


@given(st.sampled_from(FORMS), st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
@example(FORMS[0], 0, b"\xef\xbb\xbf", 0)  # a byte order mark
@example(FORMS[0], 400, b"x", 0)
@example(FORMS[0], 400, b"\0", 0)
@example(FORMS[0], 14, b"\xff", 0)
@example(FORMS[0], 14, b"\xed\xa0\x80", 0)
def test_a_document_with_other_bytes_is_read_as_if_alone(
    form: str, at: int, others: bytes, instead_of: int
) -> None:
    first = [LISTS.get(kind, "first") for kind in places(form)]
    if "BOOL" in form:
        first[0] = "[true,false,1,0]"
    document = filled(form, first)
    changed = document[:at] + others + document[at + instead_of :]
    check_alike(document, changed)
    assume(accepted(changed) is not None)
    check_alike(changed, document)


@pytest.mark.parametrize("form", FORMS)
def test_plain_documents_are_read_alike(form: str) -> None:
    kinds = places(form)
    first = [LISTS.get(kind, "first") for kind in kinds]
    second = [{"x": "[[0,-0.0],[1e-3,7]]", "y": "[ -1,2 ,3]", "id": "another one"}[kind] for kind in kinds]
    if "BOOL" in form:
        first[0], second[0] = "[true,false,1,0]", "[0,1,true,true]"
    assert check_alike(filled(form, first), filled(form, second))


@pytest.mark.parametrize(
    "document",
    [
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"data":[2]}]}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}],'
        '"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[2]}]}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}],"id":"a","id":"b"}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}],"parameters":{"id":"a"}}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}],"parameters":{"data":[3]}}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP16","data":[1]}]}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"BF16","data":[1]}]}',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["1"]}]}',
        '{"inputs":[{"name":"x","shape":[0],"datatype":"BYTES","data":[]}]}',
    ],
)
def test_an_unusual_document_has_no_others_like_it(document: str) -> None:
    request, cut = accepted(document.encode()), json_alike.cut(document.encode(), 0)
    assert request is not None
    assert cut is not None
    assert json_alike.layout(cut.rest, request) is None


def test_an_id_that_is_no_plain_text_stays_in_the_document() -> None:
    for id in ("é", "\\u0041"):
        document = filled(FORMS[1], [id, LISTS["x"]])
        cut = json_alike.cut(document, 0)
        assert cut is not None
        assert cut.id is None
        assert id.encode() in cut.rest
        assert check_alike(document, filled(FORMS[1], [id, "[4,3,2,1]"]))


def test_control_characters_are_not_what_a_cut_leaves() -> None:
    """A document that has them itself has another rest, or is not taken."""
    plain = filled(FORMS[1], ["a", LISTS["x"]])
    assert not check_alike(plain, filled(FORMS[1], ["\1", LISTS["x"]]))
    assert not check_alike(plain, filled(FORMS[1], ["a", "\0"]))


def test_a_document_with_much_besides_numbers_is_not_cut() -> None:
    few = [f'{{"name":"{number}","shape":[1],"datatype":"FP32","data":[1]}}' for number in range(17)]
    assert cut_json(f'{{"inputs":[{",".join(few[:16])}]}}'.encode(), 0, 16, 4096) is not None
    assert cut_json(f'{{"inputs":[{",".join(few)}]}}'.encode(), 0, 16, 4096) is None
    rest = len(f'{{"inputs":[{few[0]}]}}') - len("[1]") + 1
    assert cut_json(f'{{"inputs":[{few[0]}]}}'.encode(), 0, 16, rest) is not None
    assert cut_json(f'{{"inputs":[{few[0]}]}}'.encode(), 0, 16, rest - 1) is None


def test_a_short_text_takes_no_memory_for_a_large_tensor() -> None:
    cut = cut_json(b'{"data":[1,2,3]}', 0, 1, 100)
    assert cut is not None
    assert cut.read(JsonLayout([("FP64", [2**40])], False)) is None
    assert bytes(cut.read(JsonLayout([("INT8", [3])], False)) or b"") == b"\1\2\3"


@pytest.mark.parametrize("elements", [3, 5000, 300_000])
def test_tensors_of_any_size_lie_one_after_the_other(elements: int) -> None:
    first = np.arange(3, dtype=np.int8)
    second = np.linspace(-1, 1, elements, dtype=np.float64)
    document = json.dumps([{"data": first.tolist()}, {"data": second.tolist()}]).encode()
    cut = cut_json(document, 0, 2, 100)
    assert cut is not None
    layout = JsonLayout([("INT8", [3]), ("FP64", [elements])], False)
    data = cut.read(layout)
    assert data is not None
    assert bytes(data) == first.tobytes() + second.tobytes()
    assert layout.nbytes == 3 + 8 * elements
