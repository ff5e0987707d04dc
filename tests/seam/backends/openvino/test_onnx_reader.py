"""Tests of the ONNX file reader alone, on randomly damaged files from a fixed seed."""

import ctypes
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message
from onnx import ModelProto, TensorProto, helper, numpy_helper

from runtime_ext.backends import PLUGIN_DIR
from tests.seam.models import doubling, scaling, slow

FILES = 5000  # damaged files per model
LONGEST = 4096  # bytes of the reader's report

Read = Callable[[bytes], tuple[bool, str]]


@pytest.fixture(scope="module")
def read() -> Read:
    """Return a function that reads a file: whether it is accepted, and the reader's report."""
    library = ctypes.CDLL(str(PLUGIN_DIR / "libtrtserve_onnx_reader.so"))
    library.onnx_reader_read.restype = ctypes.c_bool
    library.onnx_reader_read.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    report = ctypes.create_string_buffer(LONGEST)

    def read(content: bytes) -> tuple[bool, str]:
        accepted = library.onnx_reader_read(content, len(content), report, LONGEST)
        return accepted, report.value.decode()  # a sentence that is not UTF-8 would be an error here

    return read


def with_everything(path: Path) -> Path:
    """Make a model with a subgraph, a function, sparse and packed data, training and metadata."""
    spec = (TensorProto.FLOAT, [2, 4])
    indices = numpy_helper.from_array(np.int64([3]), "indices")
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.float32([7]), "w"), indices, [2, 4])
    constant = helper.make_node("Constant", [], ["z"], sparse_value=sparse)
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("z", *spec)])
    packed = helper.make_tensor("packed", TensorProto.INT32, [4], [1, 200, -3, 70000])
    graph = helper.make_graph(
        [
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
            helper.make_node(
                "Clip", ["x", "", "packed"], ["clipped"], names=["a", "b"], sizes=[1, 2], f=[0.5]
            ),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", *spec)],
        [packed, helper.make_tensor("c", TensorProto.BOOL, [], [True])],
        value_info=[helper.make_tensor_sequence_value_info("s", *spec)],
    )
    opsets = [helper.make_opsetid("", 17)]
    relu = helper.make_node("Relu", ["a"], ["b"])
    function = helper.make_function("own", "F", ["a"], ["b"], [relu], opsets, ["alpha"])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=[function])
    model.training_info.add().algorithm.CopyFrom(graph)
    helper.set_model_props(model, {"author": "somebody"})
    path.write_bytes(model.SerializeToString())
    return path


MODELS = [
    doubling,
    with_everything,
    lambda path: scaling(path, 2.0),
    lambda path: slow(path, layers=2, width=3),
]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return the content with a few bytes flipped, cut out, overwritten, or repeated elsewhere."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice((1, 2, 5, 20, len(data))))
        match rng.randrange(6):
            case 0:
                data[start] ^= 1 << rng.randrange(8)
            case 1:
                data[start] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[start:end]
            case 3:
                at = rng.randrange(len(data))
                data[at:at] = data[start:end]
            case 4:
                data[start:start] = b"\xff" * rng.randrange(1, 11)
            case _:
                data[start:end] = rng.randbytes(end - start)
        if not data:
            return bytes(data)
    return bytes(data)


def files(content: bytes) -> Iterator[bytes]:
    rng = random.Random(len(content))
    for _ in range(FILES):
        yield damaged(content, rng)


@pytest.mark.parametrize("write", MODELS, ids=["doubling", "everything", "scaling", "several nodes"])
def test_a_damaged_file_is_refused_in_a_sentence_or_read_as_protobuf_reads_it(
    read: Read, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    content = write(tmp_path / "m.onnx").read_bytes()
    assert read(content)[0]
    readable = 0
    for file in files(content):
        accepted, report = read(file)
        if not accepted:
            kind, _, sentence = report.partition(": ")
            assert kind in {"InvalidInput", "Unsupported"}
            assert sentence
            continue
        readable += 1
        model = ModelProto.FromString(file)  # does not raise
        given = {tensor.name for tensor in model.graph.initializer}
        inputs = [f"input {value.name}\n" for value in model.graph.input if value.name not in given]
        outputs = [f"output {value.name}\n" for value in model.graph.output]
        assert report == "".join(inputs + outputs)
        assert not any(tensor.data_location or tensor.external_data for tensor in tensors(model))
    assert 0 < readable < FILES


def tensors(message: Message) -> Iterator[TensorProto]:
    """Yield all tensors in a message, at any depth."""
    if isinstance(message, TensorProto):
        yield message
    for _, value in message.ListFields():
        for part in [value] if isinstance(value, Message) else value if isinstance(value, Sequence) else []:
            if isinstance(part, Message):
                yield from tensors(part)


def test_a_file_of_very_many_nodes_is_read(read: Read) -> None:
    """The time is linear in the size: a reader that searches back for each node would not finish."""
    chain = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(200_000)]
    graph = helper.make_graph(
        chain,
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info(f"t{len(chain)}", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert read(model.SerializeToString()) == (True, f"input t0\noutput t{len(chain)}\n")
