"""Recognising a file by its first bytes."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import tracemalloc
import zipfile

import openvino
import pytest
import torch
from openvino import opset13

from tests.fakes.plans import onnx_plan, tensorrt_plan, ultralytics_plan
from trtserve.errors import InvalidInput, Unsupported
from trtserve.formats.format import Format, Sniffed
from trtserve.formats.not_a_plan import HEAD_BYTES
from trtserve.formats.sniff import decide, sniff
from trtserve.formats.zip_head import ZIP_HEADER_BYTES

BOTH = ["openvino", "tensorrt"]


def zip_of(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return file.getvalue()


def exported_blob() -> bytes:
    x = opset13.parameter([-1, 4], dtype=openvino.Type.f32, name="x")
    compiled = openvino.Core().compile_model(openvino.Model([opset13.relu(x)], [x], "toy"), "CPU")
    file = io.BytesIO()
    compiled.export_model(file)
    return file.getvalue()


def torch_archive(*, script: bool, size: int = 2) -> bytes:
    """An archive with `size` pairs of weights."""
    file = io.BytesIO()
    if script:
        layer = torch.nn.Linear(2, size) if size else torch.nn.ReLU()
        torch.jit.save(torch.jit.trace(layer, torch.zeros(1, 2)), file)
    else:
        torch.save(torch.nn.Linear(2, 2).state_dict(), file)
    return file.getvalue()


def test_each_plan_format_is_recognised() -> None:
    assert sniff(tensorrt_plan()).format is Format.TENSORRT
    assert sniff(ultralytics_plan()).format is Format.TENSORRT
    assert sniff(onnx_plan()).format is Format.ONNX


def test_the_version_that_built_a_tensorrt_plan_is_read() -> None:
    assert sniff(tensorrt_plan((10, 13, 2, 6))).what == "a TensorRT plan built by TensorRT 10.13.2.6"
    assert sniff(ultralytics_plan()).what == (
        "a TensorRT plan built by TensorRT 10.13.2.6, wrapped with metadata by Ultralytics"
    )


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"ftrt", "a TensorRT plan that is cut off: it ends after 4 bytes of the plan, within its header"),
        (tensorrt_plan()[:27], "after 27 bytes of the plan"),
        (ultralytics_plan()[:-120], "with metadata by Ultralytics that is cut off: it ends after 8 bytes of"),
        (ultralytics_plan()[:30], "it ends after 30 bytes, but its metadata alone should have 58"),
        (ultralytics_plan()[:61], "it ends after 61 bytes, but its metadata alone should have 58"),
        (ultralytics_plan()[:62], "that is cut off: it ends after the metadata"),
        (ultralytics_plan()[:63], "that is cut off: it ends after 1 byte of the plan, within its header"),
        (struct.pack("<I", 2**20) + b'{"task": "detect"}', "its metadata alone should have 1048576"),
    ],
)
def test_a_tensorrt_plan_that_is_cut_off_is_refused(head: bytes, what: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decide(head, "auto", BOTH)
    assert what in str(refused.value)
    assert "fetch it again" in str(refused.value)


def test_metadata_longer_than_the_exporter_writes_is_ignored() -> None:
    assert sniff(struct.pack("<I", 2**20 + 1) + b'{"' + bytes(100)).what.startswith("something unknown")


def test_a_plan_is_recognised_behind_long_metadata() -> None:
    metadata = json.dumps({"names": dict.fromkeys(range(1000), "x" * 1000)}).encode()
    plan = struct.pack("<I", len(metadata)) + metadata + tensorrt_plan()
    assert len(metadata) > 1_000_000
    assert sniff(plan).what.endswith("wrapped with metadata by Ultralytics")


@pytest.mark.parametrize("size", [0, 3, 2_000_000])
def test_a_torchscript_module_is_recognised_behind_any_weights(size: int) -> None:
    assert sniff(torch_archive(script=True, size=size)[: 4 * 1024**2]) == Sniffed(
        "a TorchScript archive (.pt)", Format.TORCHSCRIPT
    )


def test_a_blob_exported_by_openvino_is_recognised() -> None:
    sniffed = sniff(exported_blob())
    assert sniffed.format is Format.OPENVINO
    assert openvino.__version__.split("-")[0] in sniffed.what


def test_a_blob_of_an_older_openvino_is_recognised() -> None:
    head = struct.pack("<6Q", 48, 56, 104, 0, 104, 1000) + b'<?xml version="1.0"?>\n<cnndata>\n\t<outputs />'
    assert sniff(head).format is Format.OPENVINO


@pytest.mark.parametrize("version", [-1, 99, 2**31, 2**63 - 1])
def test_an_onnx_model_of_any_ir_version_is_left_to_its_backend(version: int) -> None:
    onnx = pytest.importorskip("onnx")
    head = onnx.ModelProto(ir_version=version, producer_name="somebody").SerializeToString()
    assert sniff(head) == Sniffed(f"an ONNX model (IR version {version})", Format.ONNX)


def test_a_real_onnx_model_is_recognised() -> None:
    helper = pytest.importorskip("onnx.helper")
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "toy", values[:1], values[1:])
    assert sniff(helper.make_model(graph).SerializeToString()).format is Format.ONNX


@pytest.mark.parametrize("length", [3, 5, 30])
def test_an_onnx_model_is_recognised_by_part_of_its_head(length: int) -> None:
    assert sniff(onnx_plan()[:length]).format is Format.ONNX


@pytest.mark.parametrize(
    ("head", "what", "advice"),
    [
        (b"", "empty", "@FILE"),
        (bytes(100), "nothing but zeros", "fetch it again"),
        (b"ptrt" + bytes(50), "a TensorRT plan of a version before 8.5", "ONNX"),
        (
            b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]),
            "a plan built by TensorRT for RTX 1.7.1.116",
            "trtexec",
        ),
        (torch_archive(script=False), "a PyTorch checkpoint (.pt, .pth)", "torch.onnx.export"),
        (zip_of("m/data/weights/w.json", "m/models/model.json"), "a torch.export archive (.pt2)", "ONNX"),
        (
            zip_of("metadata.json", "config.json", "model.weights.h5"),
            "a Keras or TensorFlow model",
            "tf2onnx",
        ),
        (zip_of("x.npy", "y.npy"), "an archive of NumPy arrays (.npz)", "Upload the model"),
        (zip_of("model.plan"), "a zip archive that begins with model.plan", "Unpack"),
        (
            struct.pack("<Q", 12) + b'{"__metadata__":{}}',
            "a safetensors file: tensors without a model",
            "ONNX",
        ),
        (b"\x89HDF\r\n\x1a\n" + bytes(8), "an HDF5 file, such as Keras writes", "tf2onnx"),
        (b"\x1c\0\0\0TFL3" + bytes(8), "a TensorFlow Lite model", "tf2onnx"),
        (b"\x08\x01\x12\x05\x0a\x03\x12\x01\x00", "a TensorFlow SavedModel", "tf2onnx"),
        (gzip.compress(b"plan", mtime=0), "gzip-compressed", "gunzip"),
        *(
            (pickle.dumps({}, protocol), "a Python pickle, like old PyTorch checkpoints", "ONNX")
            for protocol in range(2, 6)
        ),
        (
            b"\x14\0\0\0ORTM" + bytes(8),
            "a model in ONNX Runtime's own format (.ort)",
            "ONNX model from which",
        ),
        (b"\x08\x05\x12\x05\x0a\x03\x12\x01\x00", "a Core ML model", "ONNX"),
        (zip_of("m.mlpackage/Manifest.json"), "a Core ML model", "ONNX"),
        (zip_of("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), "a Core ML model", "ONNX"),
        (zip_of("m/saved_model.pb", "m/variables/variables.index"), "a Keras or TensorFlow model", "tf2onnx"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "a Git LFS pointer, not the file behind it",
            "git lfs pull",
        ),
        (
            b"<!DOCTYPE html>\n<html><head><title>Sign in</title>",
            "an HTML page titled “Sign in”",
            "web server perhaps sent it",
        ),
        (
            b'<?xml version="1.0"?>\n<net name="toy" version="11">',
            "an OpenVINO IR model (.xml), whose weights are a second file (.bin)",
            "export_model()",
        ),
        (
            b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code>',
            "an XML document",
            "fetch it again",
        ),
        (b'{"error": "not found"}', "JSON text", "without any wrapping"),
        (b"./lenet.plan\n", "plain text: “./lenet.plan”", "with the @"),
    ],
)
def test_a_foreign_file_is_named_with_advice(head: bytes, what: str, advice: str) -> None:
    sniffed = sniff(head)
    assert sniffed.format is None
    assert sniffed.what == what
    assert advice in sniffed.advice
    with pytest.raises(InvalidInput, match="The plan is "):
        decide(head, "auto", BOTH)


def test_a_head_full_of_zip_headers_takes_little_memory() -> None:
    # Each header claims a name of 65535 bytes; the next header begins every seventh byte.
    head = (b"PK\x03\x04\x00\xff\xff" * 10_000)[:HEAD_BYTES]
    tracemalloc.start()
    try:
        assert sniff(head).what.startswith("a zip archive")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * HEAD_BYTES


@pytest.mark.parametrize("packer", ["zip", "tar"])
def test_only_the_first_names_of_an_archive_are_looked_at(packer: str) -> None:
    # The event loop waits for each of the 100,000, or 8,000, that a first block of 4 MiB has room for.
    empty = {
        "zip": b"PK\x03\x04" + bytes(ZIP_HEADER_BYTES - 4),
        "tar": tarfile.TarInfo("a").tobuf(),
    }[packer]
    model = {"zip": zip_of("model.onnx"), "tar": tarfile.TarInfo("model.onnx").tobuf()}[packer]
    assert sniff(empty * 1000 + model).format is Format.ONNX
    assert sniff(empty * (4 * 1024**2 // len(empty)) + model).format is None


def test_a_zip_with_a_long_name_is_recognised_by_later_names() -> None:
    assert sniff(zip_of("x" * 5_000, "m/data.pkl")).what == "a PyTorch checkpoint (.pt, .pth)"


def test_an_unknown_binary_is_shown_in_hex() -> None:
    with pytest.raises(InvalidInput, match="begins with the bytes de ad be ef"):
        decide(b"\xde\xad\xbe\xef" * 10, "auto", BOTH)


@pytest.mark.parametrize(
    ("title", "named"),
    [
        (" \n Sign in \n </title>", "an HTML page titled “Sign in”. "),
        (" Sign", "an HTML page titled “Sign”. "),  # cut off at the end of the head
        ("a" * 200 + "</title>", f"an HTML page titled “{'a' * 80}”. "),
        (" " * 4083, "an HTML page. "),
        ("</title>", "an HTML page. "),
    ],
)
def test_a_page_is_named_by_the_beginning_of_its_title(title: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        decide(f"<html><title>{title}".encode(), "auto", BOTH)


def test_an_unknown_binary_gets_the_requested_format() -> None:
    assert decide(b"\xde\xad\xbe\xef" * 10, "openvino", BOTH) is Format.OPENVINO


def test_a_format_other_than_the_requested_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"an ONNX model .* but format=tensorrt was asked for"):
        decide(onnx_plan(), "tensorrt", BOTH)
    with pytest.raises(InvalidInput, match="gzip"):
        decide(gzip.compress(onnx_plan()), "onnx", BOTH)


def test_the_refusal_of_a_tensorrt_plan_says_how_to_get_its_backend() -> None:
    with pytest.raises(Unsupported) as refused:
        decide(tensorrt_plan((10, 9, 0, 34)), "auto", ["openvino"])
    assert "TensorRT 10.9.0.34" in str(refused.value)
    assert 'build the server again with them, on a machine with an NVIDIA GPU (README, "On a GPU")' in str(
        refused.value
    )
    assert decide(tensorrt_plan(), "auto", BOTH) is Format.TENSORRT


@pytest.mark.parametrize(
    "head", [b"\x08", b"\x08\xff\xff", b"\x08\x0a\x12", b"P", b"PK\x03\x04", b"{", b"\x00" * 7]
)
def test_any_few_bytes_are_recognised_or_unknown(head: bytes) -> None:
    assert sniff(head).what


def test_a_model_that_is_cut_off_anywhere_behind_its_second_field_is_one() -> None:
    """Also within a tag or a length of two bytes, as that of functions (25)."""
    whole = b"\x08\x0a\x12\x03toy" + b"\x72\xc8\x01" + bytes(200) + b"\xca\x01\xc8\x01" + bytes(200)
    for end in range(7, len(whole)):
        assert sniff(whole[:end]).format is Format.ONNX, end
