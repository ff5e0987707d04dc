"""The fuzzer's target for JSON that is read like an earlier document: it must say what it says alone.

An input is two documents with SEPARATOR between them, which no JSON holds.
"""

from collections.abc import Iterator
from typing import Any

from tests import bodies
from tests.codec_agreement import bytes_of
from trtserve.codec import InferRequest, json_alike
from trtserve.errors import TrtserveError

JSON = {"content-type": "application/json"}
SEPARATOR = b"\xff\xff"

X = '{"name":"x","shape":[2,2],"datatype":"FP32","data":%s}'
Y = '{"data": %s, "datatype": "INT16", "name": "y", "shape": [3]}'
FORMS = [
    f'{{"inputs":[{X}]}}',
    f'{{"id":"%s","inputs":[{X}]}}',
    f'{{ "inputs" : [ {X},\n {Y} ], "id" : "%s" }}',
    f'{{"inputs":[{X}],"outputs":[{{"name":"o","parameters":{{"binary_data":true}}}}],"parameters":{{"timeout":9}}}}',
    f'{{"parameters":{{"priority":1,"tag":"id"}},"inputs":[{Y},{X}]}}',
    f'{{"inputs":[{X.replace("FP32", "FP64")}],"id":"%s"}}',
    f'{{"inputs":[{X.replace("FP32", "BOOL").replace("[2,2]", "[4]")}]}}',
]
WORDS = [
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        '"',
        "\\",
        "\0",
        "\1",
        "\n",
        "[1,2,3,4]",
        "1e400",
        "-0.0",
        "true",
        "null",
    ),
    *(
        '"id":"a"',
        '"data":[',
        '"inputs":[',
        '"outputs":[',
        '"parameters":{',
        '"shape":[2,2]',
        '"datatype":"FP64"',
    ),
    *('"BOOL"', '"INT64"', '"BYTES"', '"binary_data":true', '"priority":1', '"timeout":9', '"name":"x"'),
    SEPARATOR.decode("latin-1"),
]


def accepted(document: bytes) -> InferRequest | None:
    try:
        return bodies.decode(JSON, document)
    except TrtserveError:
        return None


def said(request: InferRequest) -> tuple[Any, ...]:
    """All that a request says but its id and its data."""
    tensors = [(name, datatype, shape) for name, datatype, shape, _ in request.inputs]
    return (
        tensors,
        request.outputs,
        request.binary_outputs,
        request.timeout_ns,
        request.priority,
        request.shared,
    )


def check_alike(first: bytes, second: bytes) -> bool:
    """Read the second document like the first, and compare it with itself alone. False if it is not alike."""
    request, alone = accepted(first), accepted(second)
    known, cut = json_alike.cut(first, 0), json_alike.cut(b"POST" + second, 4)
    if request is None or known is None or cut is None or known.rest != cut.rest:
        return False
    layout = json_alike.layout(known.rest, request)
    if layout is None:
        return False
    data = cut.read(layout)
    if data is None:
        # The other way reads it, which finds a fault, or an id that is not the same kind of text.
        assert alone is None or (known.id is None) != (cut.id is None)
        return False
    assert alone is not None, "a document is accepted that is refused when it is read alone"
    assert said(alone) == said(request)
    assert bytes(data) == b"".join(bytes_of(tensor[3]) for tensor in alone.inputs)
    if cut.id is not None or known.id is not None:
        assert cut.id == alone.id
    else:
        assert request.id == alone.id
    return True


def check(data: bytes) -> None:
    first, _, second = data.partition(SEPARATOR)
    check_alike(first, second)


def seeds() -> Iterator[bytes]:
    """Seed inputs: each form twice, and with other numbers, nested numbers, another id and a fault."""
    for form in FORMS:
        first = _with(form, "[1,2,3,4]", "[7,8,9]", "first")
        yield first + SEPARATOR + first
        for x, y, id in (
            ("[[1.5,-0.0],[2e0,1]]", "[ -1,2 ,3]", "another"),
            ("[0,1,true,false]", "[[1],[2],[3]]", "\\u0041"),
            ("[1,2,3]", "[1,2,null]", "\0"),
        ):
            yield first + SEPARATOR + _with(form, x, y, id)


def _with(form: str, x: str, y: str, id: str) -> bytes:
    """The form, its places filled in their order."""
    kept = form.replace(X, X % x).replace(Y, Y % y)
    return kept.replace("%s", id if '"id"' in form else x).encode()
