"""The backends, each with everything that the service knows of it: a new one is added here.

The code that reads the plans of a backend has its own module beside this one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtserve.formats.format import Format, Sniffed
from trtserve.formats.generations import plan_generation
from trtserve.formats.onnx_archive import recognise_archive
from trtserve.formats.openvino import recognise_blob, recognise_onnx
from trtserve.formats.tensorrt import VersionOf, blame_version, check_plan, recognise_plan
from trtserve.formats.tensorrt_head import read_metadata
from trtserve.formats.torchscript import recognise_module

Recogniser = Callable[[bytes], Sniffed | None]
"""What a file is, told from its first bytes; None where it is something else."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A library that runs plans."""

    name: str
    library: str  # its name, for people
    takes: tuple[str, ...]  # kinds of plans, for people
    platforms: Mapping[Format, str]  # the formats that it takes, and the protocol's platform for each
    words: Mapping[str, frozenset[Format]]  # what a config's `backend` or `platform` may be, and stands for
    recognise: Sequence[Recogniser]  # the plans that it takes
    recognise_last: Sequence[
        Recogniser
    ] = ()  # plans with few marks; asked after the files that are not plans
    options: frozenset[str] = frozenset()  # options of engines that no other backend has
    missing: str  # a sentence: what to do if it is not installed
    crashed: str  # a sentence: what to do about a plan that crashed it
    check_plan: Callable[[bytes, Sequence[str], VersionOf], None] | None = None  # before it sees the plan
    blame_plan: Callable[[Path, Sequence[str], VersionOf], str] | None = None  # why it may have refused one
    generation: Callable[[Path, Sequence[str]], str] | None = None  # which of several installed loads a plan
    read_metadata: Callable[[Path], dict[str, Any] | None] | None = None  # that an exporter wrote into a plan


TENSORRT = Backend(
    name="tensorrt",
    library="TensorRT",
    takes=("TensorRT engines",),
    platforms={Format.TENSORRT: "tensorrt_plan"},
    words={
        "tensorrt": frozenset({Format.TENSORRT}),
        "tensorrt_plan": frozenset({Format.TENSORRT}),
    },
    recognise=[recognise_plan],
    options=frozenset({"cuda_graphs"}),
    missing="It is compiled where TensorRT's and CUDA's headers are found: build the server again with them, "
    'on a machine with an NVIDIA GPU (README, "On a GPU"), or upload the ONNX model that the plan was built '
    "from.",
    crashed="It is damaged, or was built for another TensorRT or GPU: build it again with this server's "
    "TensorRT (GET /version) on such a GPU as this server has.",
    check_plan=check_plan,
    blame_plan=blame_version,
    generation=plan_generation,
    read_metadata=read_metadata,
)

OPENVINO = Backend(
    name="openvino",
    library="OpenVINO",
    takes=("ONNX models", "blobs exported by OpenVINO"),
    platforms={Format.ONNX: "openvino_onnx", Format.OPENVINO: "openvino_blob"},
    words={
        "onnxruntime": frozenset({Format.ONNX}),
        "onnxruntime_onnx": frozenset({Format.ONNX}),
        "openvino": frozenset({Format.ONNX, Format.OPENVINO}),
        "openvino_onnx": frozenset({Format.ONNX}),
        "openvino_blob": frozenset({Format.OPENVINO}),
    },
    recognise=[recognise_blob, recognise_archive],
    recognise_last=[recognise_onnx],
    options=frozenset({"precision"}),
    missing="Install it with `pip install openvino`.",
    crashed="It is damaged, or holds what this version of OpenVINO (GET /version) cannot take: export it "
    "again, or simplify the model.",
)

TORCHSCRIPT = Backend(
    name="torchscript",
    library="PyTorch",
    takes=("TorchScript modules",),
    platforms={Format.TORCHSCRIPT: "pytorch_libtorch"},
    words={
        "torchscript": frozenset({Format.TORCHSCRIPT}),
        "pytorch": frozenset({Format.TORCHSCRIPT}),
        "pytorch_libtorch": frozenset({Format.TORCHSCRIPT}),
    },
    recognise=[recognise_module],
    options=frozenset({"tensors"}),
    missing="Build the server again: it is a part of every build.",
    crashed="It is damaged, or was saved by a newer torch than this server's (GET /version): save it again.",
)

BACKENDS: Mapping[str, Backend] = {backend.name: backend for backend in (TENSORRT, OPENVINO, TORCHSCRIPT)}
"""All, by name."""


def backend_of(format: str) -> Backend:
    """The backend that loads plans of a format."""
    return next(backend for backend in BACKENDS.values() if format in backend.platforms)


def runtime_backend(backend: str, plan: Path, installed: Sequence[str]) -> str:
    """The backend of the runtime that loads a plan of the service's backend. Blocks.

    Raises InvalidInput if no generation reads it, and OSError if the file cannot be read.
    """
    known = BACKENDS.get(backend)
    if known is None or known.generation is None or backend in installed:
        return backend
    return known.generation(plan, installed)
