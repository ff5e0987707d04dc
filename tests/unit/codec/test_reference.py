"""The codec against an independent reference: both accept or refuse a request, and answers are read back."""

import json
import math
from typing import Any

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st

from tests import bodies, reference_codec
from tests import codec_agreement as agreement
from tests.fakes.runtime import Output
from tests.tensors import Tensor, output, tensors
from trtserve.codec import InferRequest

NAMES = st.sampled_from(["x", "y", "naïve", ""]) | st.text(max_size=3)
SHAPES = st.lists(st.integers(0, 3), max_size=3)
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "BOOL": st.booleans() | st.integers(0, 1),
    "UINT8": st.integers(0, 255),
    "UINT16": st.integers(0, 2**16 - 1),
    "UINT32": st.integers(0, 2**32 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
    "INT8": st.integers(-128, 127),
    "INT16": st.integers(-(2**15), 2**15 - 1),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "FP16": st.floats(-65504, 65504) | st.integers(-100, 100),
    "BF16": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-100, 100),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-1e38, 1e38),
    "FP64": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1),
    "BYTES": st.text(max_size=4),
}
SIZES = reference_codec.SIZES
ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
)
# Changes that spoil a request; most requests stay as they are.
SPOILS = st.sampled_from([None] * 6 + ["element", "size", "shape", "cut", "more", "header", "both"])


def nested(values: list[Any], shape: list[int]) -> list[Any]:
    for dim in reversed(shape[1:]):
        values = [values[at : at + dim] for at in range(0, len(values), dim)] if dim else values
    return values


@st.composite
def described(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """An input and its blob."""
    datatype = draw(st.sampled_from(sorted(ELEMENTS)))
    shape = draw(SHAPES)
    elements = math.prod(shape)
    tensor: dict[str, Any] = {"name": draw(NAMES), "datatype": datatype, "shape": shape}
    way = draw(st.sampled_from(["blob", "flat", "nested", "shared"]))
    if way in {"flat", "nested"}:
        values = draw(st.lists(ELEMENTS[datatype], min_size=elements, max_size=elements))
        tensor["data"] = nested(values, shape) if way == "nested" else values
        return tensor, b""
    if datatype == "BYTES":
        strings = draw(st.lists(st.binary(max_size=4), min_size=elements, max_size=elements))
        blob = b"".join(len(text).to_bytes(4, "little") + text for text in strings)
    else:
        size = elements * SIZES[datatype]
        blob = draw(st.binary(min_size=size, max_size=size))
    if way == "shared":
        tensor["parameters"] = {"shared_memory_region": "r", "shared_memory_byte_size": len(blob)}
        if draw(st.booleans()):
            tensor["parameters"]["shared_memory_offset"] = draw(st.integers(0, 2**63))
        return tensor, b""
    tensor["parameters"] = {"binary_data_size": len(blob)}
    return tensor, blob


OUTPUTS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "parameters": st.fixed_dictionaries(
            {},
            optional={
                "binary_data": st.booleans() | st.booleans() | ANYTHING,
                "classification": st.integers(0, 1),
                "shared_memory_region": st.just("r"),
                "shared_memory_byte_size": st.integers(-1, 20),
                "shared_memory_offset": st.integers(-1, 20),
            },
        )
    },
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A body, usually well-formed, and the length of its JSON."""
    inputs = draw(st.lists(described(), max_size=3))
    root: dict[str, Any] = {"inputs": [tensor for tensor, _ in inputs]}
    blobs = b"".join(blob for _, blob in inputs)
    root |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "id": st.text(max_size=3),
                "outputs": st.lists(OUTPUTS, max_size=2),
                "parameters": st.fixed_dictionaries({}, optional={"binary_data_output": st.booleans()}),
            },
        )
    )
    spoil = draw(SPOILS)
    tensor = draw(st.sampled_from(root["inputs"])) if inputs else {}
    parameters = tensor.get("parameters", {})
    match spoil:
        case "element" if isinstance(tensor.get("data"), list) and tensor["data"]:
            tensor["data"] = list(tensor["data"])
            tensor["data"][draw(st.integers(0, len(tensor["data"]) - 1))] = draw(ANYTHING | st.just([1]))
        case "size" if parameters:
            parameters[draw(st.sampled_from(sorted(parameters)))] = draw(st.integers(-1, 70) | ANYTHING)
        case "shape" if inputs:
            tensor["shape"] = draw(SHAPES | st.lists(ANYTHING, max_size=3) | ANYTHING)
        case "both" if inputs:
            tensor |= draw(
                st.sampled_from(
                    [{"data": [1]}, {"parameters": {"binary_data_size": 0}}, {"parameters": None}]
                )
            )
    document = json.dumps(root, ensure_ascii=draw(st.booleans())).encode()
    body, length = document + blobs, len(document)
    match spoil:
        case "cut":
            body = body[: draw(st.integers(0, len(body)))]
        case "more":
            body += draw(st.binary(min_size=1, max_size=9))
        case "header":
            length = draw(st.integers(0, len(body) + 2))
    alone = not blobs and length == len(document) and draw(st.booleans())
    return body, None if alone else length


@given(requests())
def test_the_codec_and_the_reference_agree_on_every_request(request: tuple[bytes, int | None]) -> None:
    ours, theirs = agreement.decoded(*request), agreement.expected(*request)
    event("taken" if ours is not None else "refused")
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        agreement.check_same(ours, theirs)


@given(st.lists(st.tuples(tensors(finite=True), st.booleans()), max_size=4), st.none() | st.text(max_size=5))
def test_the_reference_reads_answers_back(sent: list[tuple[Tensor, bool]], id: str | None) -> None:
    outputs = [output(datatype, array, f"y{n}") for n, ((datatype, array), _) in enumerate(sent)]
    order = list(reversed(range(len(sent))))
    body, headers = bodies.encode(
        InferRequest(inputs=[], id=id),
        outputs,
        [(index, sent[index][1]) for index in order],
        model_name="net",
        model_version="7",
    )
    length = headers.get("Inference-Header-Content-Length")
    assert (length is not None) == any(binary for _, binary in sent)
    root, came = reference_codec.parse_answer(body, None if length is None else int(length))
    assert (root["model_name"], root["model_version"], root.get("id")) == ("net", "7", id)
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in came] == [
        (f"y{index}", sent[index][0][0], list(sent[index][0][1].shape)) for index in order
    ]
    for index, tensor in zip(order, came, strict=True):
        assert tensor.data == np.ascontiguousarray(sent[index][0][1]).tobytes()


@given(st.lists(st.text(max_size=5), max_size=4), st.booleans())
def test_the_reference_reads_strings_back(strings: list[str], binary: bool) -> None:
    blob = b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in strings)
    outputs = [Output.of("y", "BYTES", [len(strings)], blob)]
    body, headers = bodies.encode(
        InferRequest(inputs=[]), outputs, [(0, binary)], model_name="net", model_version="1"
    )
    length = headers.get("Inference-Header-Content-Length")
    if not binary:
        assert json.loads(body)["outputs"][0]["data"] == strings
        return
    _, (tensor,) = reference_codec.parse_answer(body, int(length or 0))
    assert isinstance(tensor.data, bytes)
    assert [text.decode() for text in reference_codec.unpacked_strings(tensor.data)] == strings
