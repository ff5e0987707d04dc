"""The fuzzer's target: run every function of the codec on a body, and compare with the reference.

An input is a byte of flags, two bytes of length, and the body. The codec may only raise TrtserveError, and
what it accepts must equal what the reference reads. `python -m tests.fuzz` runs it with atheris.
"""

import json
import math
from collections.abc import Iterator

import numpy as np

from runtime_ext import DATATYPES
from tests import bodies, reference_codec
from tests import codec_agreement as agreement
from tests.fakes.values import Output, TensorSpec
from trtserve import codec
from trtserve.codec import Form, InferRequest, json_large, raw
from trtserve.codec.request import RegionPart
from trtserve.errors import TrtserveError
from trtserve.http.content_coding import WINDOW, Decompressor, compress
from trtserve.http.headers import read_headers

JSON_ALONE = 1
LENGTH_OF_BLOBS = 2  # the length counts the bytes behind the JSON, otherwise the JSON
AS_LARGE = 4  # read the JSON as a large one
SAFETENSORS = 8  # the answer is a safetensors file
STEP = 64  # bytes

PRELUDE_BYTES = 3

WORDS = [
    *("inputs", "outputs", "parameters", "name", "shape", "datatype", "data", "id", "BYTES"),
    *("binary_data_size", "binary_data", "binary_data_output", "classification", "timeout", "priority"),
    *("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"),
    *("true", "false", "null", "-0", "1e308", "65520", "9223372036854775808", '{"', '": [', "], ", "}, {"),
    *reference_codec.SIZES,
]


def check(data: bytes) -> None:
    if len(data) < PRELUDE_BYTES:
        return
    flags, length = data[0], int.from_bytes(data[1:PRELUDE_BYTES], "little")
    body = data[PRELUDE_BYTES:]
    header_length = len(body) - length if flags & LENGTH_OF_BLOBS else length
    json_large.LEAST_BYTES = 0 if flags & AS_LARGE else 16_384
    json_large.LEAST_LIST = 0 if flags & AS_LARGE else 256
    given = None if flags & JSON_ALONE else max(0, header_length)
    request = agreement.decoded(body, given)
    if request is not None:
        expected = agreement.expected(body, given)
        assert expected is not None, "the codec accepts what the reference refuses"
        agreement.check_same(request, expected)
        request.answer = Form.SAFETENSORS if flags & SAFETENSORS else Form.PROTOCOL
        check_answer(request)
    check_raw(body)
    check_headers(body)
    check_streams(body)


def check_answer(request: InferRequest) -> None:
    """Answer with the inputs as outputs, and compare."""
    outputs = [
        Output.of(name, datatype, shape, data)
        for name, datatype, shape, data in request.inputs
        if not isinstance(data, RegionPart)
    ]
    specs = [TensorSpec(output.name, output.datatype, list(output.shape)) for output in outputs]
    try:
        selected = codec.select(request, specs)  # type: ignore[arg-type]
        body, headers = bodies.encode(request, outputs, selected)  # type: ignore[arg-type]
    except TrtserveError:
        return
    if request.answer is Form.SAFETENSORS:
        return
    length = headers.get("Inference-Header-Content-Length")
    root = json.loads(body[: len(body) if length is None else int(length)])
    assert root.get("id") == request.id
    placed = []
    for (index, place), answered in zip(selected, root["outputs"], strict=True):
        assert (answered["name"], answered["shape"]) == (outputs[index].name, outputs[index].shape)
        if isinstance(place, RegionPart):
            assert answered.keys() == {"name", "shape", "datatype"}
        elif place or finite(outputs[index]):
            placed.append(bytes(outputs[index]))
    if any(
        isinstance(place, RegionPart) or not (place or finite(outputs[index])) for index, place in selected
    ):
        return
    _, tensors = reference_codec.parse_answer(body, None if length is None else int(length))
    for tensor, sent, (index, place) in zip(tensors, placed, selected, strict=True):
        same = tensor.data == sent
        # Any byte but zero is true; JSON writes 1 for it.
        assert same or (outputs[index].datatype == "BOOL" and place is False)


def finite(output: Output) -> bool:
    """True if JSON can hold every element."""
    values = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
    if output.datatype == "BF16":
        return bool(((np.frombuffer(output, "<u2") & 0x7F80) != 0x7F80).all())
    if output.datatype in values:
        return bool(np.isfinite(np.frombuffer(output, values[output.datatype])).all())
    return True


def check_raw(body: bytes) -> None:
    shapes: list[list[int] | None] = [[-1, 4], [4], [-1, -1, 2], [], [0, -1], None]
    for shape in shapes:
        for batch_dim in (None, 0):
            try:
                request = raw.decode([TensorSpec("x", "FP32", shape)], batch_dim, body)  # type: ignore[list-item]
            except TrtserveError:
                continue
            ((_, datatype, found, _),) = request.inputs
            assert math.prod(found) * DATATYPES[datatype] == len(body)


def check_headers(body: bytes) -> None:
    text = body[:200].decode("latin-1")
    for name in (
        "accept",
        "accept-encoding",
        "content-encoding",
        "content-type",
        "Inference-Timeout-Ms",
        "Inference-Header-Content-Length",
    ):
        try:
            form = read_headers({name: text})
            codec.decode_body(form, body)
        except TrtserveError:
            continue


def check_streams(body: bytes) -> None:
    for coding in WINDOW:
        stream = Decompressor(coding)
        stream.feed(body)
        try:
            for _ in range(STEP):
                if not stream.take(STEP):
                    break
            stream.finish()
        except TrtserveError:
            continue


def seeds() -> Iterator[bytes]:
    """Seed inputs: bodies that clients send, and near misses."""
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    blob = x | {"parameters": {"binary_data_size": 16}}
    strings = {"name": "s", "shape": [2], "datatype": "BYTES"}
    shared = x | {"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 16}}
    outputs = [{"name": "x", "parameters": {"binary_data": True}}, {"name": "s"}]
    place = [{"name": "x", "parameters": {"shared_memory_region": "o", "shared_memory_byte_size": 64}}]
    numbers = np.arange(4, dtype=np.float32).tobytes()
    text = b"\1\0\0\0a\0\0\0\0"
    for root, blobs in (
        ({"inputs": [blob]}, numbers),
        ({"inputs": [blob], "id": "1", "parameters": {"binary_data_output": True}}, numbers),
        ({"inputs": [x | {"data": [1, 2.5, -3, 1e3]}, blob], "outputs": outputs[:1]}, numbers),
        ({"inputs": [x | {"data": [[1, 2, 3, 4]]}], "outputs": []}, b""),
        ({"inputs": [strings | {"data": ["a", "é"]}]}, b""),
        (
            {"inputs": [blob, strings | {"parameters": {"binary_data_size": 9}}], "outputs": outputs},
            numbers + text,
        ),
        ({"inputs": [shared], "outputs": place}, b""),
        ({"inputs": [blob], "outputs": place, "parameters": {"timeout": 5, "priority": 1}}, numbers),
        ({"inputs": []}, b""),
    ):
        document = json.dumps(root).encode()
        for flags in (LENGTH_OF_BLOBS, LENGTH_OF_BLOBS | AS_LARGE, LENGTH_OF_BLOBS | SAFETENSORS):
            yield bytes([flags]) + len(blobs).to_bytes(2, "little") + document + blobs
        yield bytes([0]) + len(document).to_bytes(2, "little") + document + blobs
        yield bytes([JSON_ALONE, 0, 0]) + document
    for datatype, size in reference_codec.SIZES.items():
        values: dict[str, object] = {"name": "x", "shape": [2], "datatype": datatype, "data": [0, 1]}
        yield bytes([JSON_ALONE, 0, 0]) + json.dumps({"inputs": [values]}).encode()
        described = {"name": "x", "shape": [2], "datatype": datatype}
        document = json.dumps(
            {"inputs": [described | {"parameters": {"binary_data_size": 2 * size}}]}
        ).encode()
        yield bytes([LENGTH_OF_BLOBS]) + (2 * size).to_bytes(2, "little") + document + bytes(2 * size)
    for coding in WINDOW:
        yield bytes(PRELUDE_BYTES) + compress([b'{"inputs": []}'], coding)
    yield bytes([0, 0, 0]) + numbers
    yield bytes([0, 0, 0]) + b"deflate;q=0.5, gzip;q=0.1, identity"
