"""Files that people upload instead of a plan, and what to do about them.

The first bytes identify a file; the sentences are for the person who picked the wrong one.
"""

import json
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from trtserve.formats.zip_head import ZIP_HEADER, zip_names

HEAD_BYTES = 64 * 1024
"""How many bytes of a file's beginning to examine; a shorter file is examined whole."""

EXPORT_ONNX = "Export the model to ONNX (torch.onnx.export) and upload that file."
CONVERT_TO_ONNX = "Convert it to ONNX with tf2onnx and upload the result."
UPLOAD_ITS_ONNX = "Upload the ONNX model from which it was made."
PICKLE = "a Python pickle, like old PyTorch checkpoints"
CORE_ML = "a Core ML model"
SEND_IT_TO_INFER = "Upload the model first, then send this to its /infer as a tensor."


class Foreign(NamedTuple):
    what: str  # completes "The plan is …"
    advice: str  # a sentence


def recognise_foreign(head: bytes) -> Foreign | None:
    """What a file is that is not a plan, from its first HEAD_BYTES; None if it is not recognised."""
    for recognise in _RECOGNISERS:
        if (foreign := recognise(head)) is not None:
            return foreign
    return None


def is_text(data: bytes) -> bool:
    """True for UTF-8 without control characters; the end of the data may cut off a character."""
    if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError as failure:
        return failure.end == len(data) and len(data) - failure.start < 4
    return True


def _nothing(head: bytes) -> Foreign | None:
    if not head:
        return Foreign("empty", "Send its bytes as the body: curl --data-binary @FILE.")
    if not head.strip(b"\0"):
        return Foreign("nothing but zeros", "Its download or copy probably broke off: fetch it again.")
    return None


_MAGICS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes", CONVERT_TO_ONNX),
    (4, b"TFL3", "a TensorFlow Lite model", CONVERT_TO_ONNX),
    (4, b"ET12", "an ExecuTorch program", EXPORT_ONNX),
    (0, b"GGUF", "a GGUF language model", "Serve it with llama.cpp: this server runs engines."),
    *((0, bytes([0x80, protocol]), PICKLE, EXPORT_ONNX) for protocol in range(2, 6)),
    (4, b"ORTM", "a model in ONNX Runtime's own format (.ort)", UPLOAD_ITS_ONNX),
    (0, b"\x93NUMPY", "a NumPy array", SEND_IT_TO_INFER),
    (0, b"\x89PNG", "a PNG image", SEND_IT_TO_INFER),
    (0, b"\xff\xd8\xff", "a JPEG image", SEND_IT_TO_INFER),
    (0, b"\x1f\x8b", "gzip-compressed", "Unpack it (gunzip) and upload its content."),
    (0, b"BZh", "bzip2-compressed", "Unpack it (bunzip2) and upload its content."),
    (0, b"\xfd7zXZ\0", "xz-compressed", "Unpack it (unxz) and upload its content."),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "Unpack it (unzstd) and upload its content."),
    (257, b"ustar", "a tar archive", "Unpack it and upload the plan inside."),
    (0, b"%PDF", "a PDF document", "Upload the model that it describes."),
    (0, b"\x7fELF", "a program or a shared library", "Upload the plan, not what runs it."),
)
"""For each format: the offset of its magic bytes, these bytes, what the file is, what to do."""


def _magic(head: bytes) -> Foreign | None:
    for offset, magic, what, advice in _MAGICS:
        if head[offset:].startswith(magic):
            return Foreign(what, advice)
    return None


_TORCH_EXPORT = re.compile(r"(^|/)(archive_format|models/[^/]+\.json|serialized_exported_program\.json)$")


def _zip(head: bytes) -> Foreign | None:
    if not head.startswith(ZIP_HEADER):
        return None
    names = [name for name, _ in zip_names(head)]
    if any(_TORCH_EXPORT.search(name) for name in names):
        return Foreign("a torch.export archive (.pt2)", EXPORT_ONNX)
    if any(name.endswith("/data.pkl") for name in names):
        return Foreign("a PyTorch checkpoint (.pt, .pth)", EXPORT_ONNX)
    if any("com.apple.CoreML/" in name or ".mlpackage/" in name for name in names):
        return Foreign(CORE_ML, EXPORT_ONNX)
    if {"model.weights.h5", "config.json", "saved_model.pb"} & {name.split("/")[-1] for name in names}:
        return Foreign("a Keras or TensorFlow model", CONVERT_TO_ONNX)
    if names and all(name.endswith(".npy") for name in names):
        return Foreign("an archive of NumPy arrays (.npz)", "Upload the model, not its data.")
    beginning = f" that begins with {names[0][:60]}" if names else ""
    return Foreign(f"a zip archive{beginning}", "Unpack it and upload the plan inside.")


def _safetensors(head: bytes) -> Foreign | None:
    # https://github.com/huggingface/safetensors#format: a u64 length, then that much of JSON.
    if head[8:10] not in {b'{"', b"{}"} or struct.unpack_from("<Q", head)[0] > 100_000_000:
        return None
    return Foreign("a safetensors file: tensors without a model", EXPORT_ONNX)


def _text(head: bytes) -> Foreign | None:
    if not is_text(head):
        return None
    text = head.decode(errors="replace").lstrip("\ufeff \t\r\n")
    begin = text[:64].lower()
    if begin.startswith("version https://git-lfs"):
        return Foreign("a Git LFS pointer, not the file behind it", "Run `git lfs pull` and upload it again.")
    if begin.startswith(("<!doctype html", "<html")):
        return _html(text)
    if begin.startswith(("<?xml", "<net ")):
        return _xml(text)
    if begin.startswith(("{", "[")) and _is_json(head):
        return Foreign("JSON text", "Upload the plan itself as the body, without any wrapping.")
    line = text.split("\n", 1)[0].strip()[:60]
    return Foreign(f"plain text: “{line}”", "Upload the plan itself: curl --data-binary @FILE, with the @.")


def _html(text: str) -> Foreign:
    # Each part ends where the next begins: text that two parts could match would be tried in every split.
    title = re.search(r"<title[^<>]*>\s*([^<\s][^<]{0,79})", text[:4096], re.IGNORECASE)
    titled = f" titled “{title[1].strip()}”" if title else ""
    return Foreign(
        f"an HTML page{titled}",
        "A web server perhaps sent it in place of the file (a login, an error): fetch the file again.",
    )


def _xml(text: str) -> Foreign:
    if re.match(r"(<\?xml[^>]*\?>\s*)?<net ", text):
        return Foreign(
            "an OpenVINO IR model (.xml), whose weights are a second file (.bin)",
            "Upload the ONNX model, or the blob that CompiledModel.export_model() writes.",
        )
    return Foreign(
        "an XML document",
        "A storage service perhaps sent it in place of the file (an error): fetch it again.",
    )


def _is_json(head: bytes) -> bool:
    if len(head) >= HEAD_BYTES:
        return True  # cut off: its beginning must suffice
    try:
        json.loads(head)
    except (ValueError, RecursionError):
        return False
    return True


_RECOGNISERS: tuple[Callable[[bytes], Foreign | None], ...] = (_nothing, _zip, _safetensors, _magic, _text)
