"""Settings and stored options as the runtime takes them."""

import os
from collections.abc import Sequence
from pathlib import Path

from runtime_ext import LoadOptions
from runtime_ext.backends import OpenVinoOptions, TensorRtOptions
from runtime_ext.backends.discovery import library_major
from trtserve.errors import InvalidInput
from trtserve.formats.generations import generations
from trtserve.options.engine_options import EngineOptions
from trtserve.options.for_runtime import for_runtime
from trtserve.settings import Settings
from trtserve.store.module_uses import Uses
from trtserve.text import listed

SETTING = "--tensorrt-library (TRTSERVE_TENSORRT_LIBRARY)"


def tensorrt_options(settings: Settings) -> TensorRtOptions:
    """What the tensorrt backend is told."""
    return TensorRtOptions(
        libraries=_paths(settings.tensorrt_library),
        plugins=_paths(settings.tensorrt_plugins),
        allow_host_code=settings.allow_host_code,
        spin=settings.gpu_spin,
    )


def check_tensorrt_libraries(options: TensorRtOptions, backends: Sequence[str]) -> None:
    """Raise InvalidInput if a configured library of TensorRT is missing, or if none of the runtime's backends
    opens its major version. Blocks.

    A library whose file name has no version is opened to find out; `GET /version` then says what is wrong.
    """
    built = generations(backends)
    for library in options.libraries:
        if library.parent != Path() and not library.exists():  # a mere name is for the system's loader
            raise InvalidInput(f"{SETTING} names {library}, which does not exist.")
        major = library_major(library)
        if built and (major is None or major in built):
            continue
        of = f", a library of TensorRT {major}" if major else ""
        this = "was built without TensorRT"
        if built:
            this = f"runs TensorRT {listed([str(each) for each in sorted(built)])}"
        raise InvalidInput(
            f"{SETTING} names {library}{of}; this server {this}: leave it out, or build the server with the "
            f'headers of {f"TensorRT {major}" if major else "that TensorRT"} as well (README, "On a GPU").'
        )


def _paths(setting: str | None) -> tuple[Path, ...]:
    return tuple(map(Path, filter(None, (setting or "").split(os.pathsep))))


def openvino_options(settings: Settings) -> OpenVinoOptions:
    """What the openvino backend is told."""
    return OpenVinoOptions(
        shape_cache=settings.shape_cache,
        max_tensor_bytes=settings.max_tensor_bytes,
        allow_blobs=settings.allow_blobs,
    )


def load_options(options: EngineOptions, name: str = "", uses: Uses | None = None) -> LoadOptions:
    """How an engine is loaded, under this name if it has one; a module, with the engines that it calls."""
    engines = uses.names if uses is not None else {}
    return LoadOptions(name=name, engines=engines, **for_runtime(options))
