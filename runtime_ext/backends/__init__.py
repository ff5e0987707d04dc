"""Finds the installed backends, and creates a runtime with all of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime_ext import _C
from runtime_ext.backends.discovery import openvino_libraries, tensorrt_candidates

PLUGIN_DIR = Path(_C.__file__).parent / "backends"


@dataclass(frozen=True)
class TensorRtOptions:
    """Settings of the tensorrt backend, passed when it is first opened."""

    libraries: tuple[Path, ...] = ()  # TensorRT's runtime library, for some major versions; others search
    plugins: tuple[Path, ...] = ()  # libraries of TensorRT plugins that plans may need
    allow_host_code: bool = False  # run host code in version-compatible plans
    spin: bool = False  # threads that wait for the GPU spin instead of sleeping

    def config(self, major: int) -> dict[str, str]:
        """Return the settings as the backend of one major version reads them: lists of paths have one per
        line."""
        return {
            "libraries": "\n".join(tensorrt_candidates(self.libraries, major)),
            "plugins": "\n".join(map(str, self.plugins)),
            "allow_host_code": "1" if self.allow_host_code else "",
            "spin": "1" if self.spin else "",
        }


@dataclass(frozen=True)
class OpenVinoOptions:
    """Settings of the openvino backend, passed when it is first opened."""

    shape_cache: int = 256  # shapes for which each stream of an engine caches its preparation; 0: none
    max_tensor_bytes: int = 256 * 1024**2  # for a tensor whose size depends on a request's values
    allow_blobs: bool = True  # run blobs, which are not guarded against the values of requests

    def config(self) -> dict[str, str]:
        """Return the settings as the backend reads them."""
        return {
            "shape_cache": str(self.shape_cache),
            "max_tensor_bytes": str(self.max_tensor_bytes),
            "allow_blobs": "1" if self.allow_blobs else "0",
        }


def create_runtime(
    *,
    clock: _C.ManualClock | None = None,
    stuck_after_s: float = 60.0,
    tensorrt: TensorRtOptions | None = None,
    openvino: OpenVinoOptions | None = None,
) -> _C.Runtime:
    """Create this process's runtime and register every built backend, without opening any.

    An execution that has not ended after `stuck_after_s` seconds counts as stuck.
    """
    runtime = _C.Runtime(clock=clock, stuck_after_s=stuck_after_s)
    register_built_backends(runtime.register_backend, tensorrt, openvino)
    return runtime


def register_built_backends(
    register: Callable[[str, str, list[str], dict[str, str]], None],
    tensorrt: TensorRtOptions | None = None,
    openvino: OpenVinoOptions | None = None,
) -> None:
    """Call `register` for every built backend, with its name, plugin, libraries and settings."""
    for name in built_backends():
        libraries: list[str] = []
        config: dict[str, str] = {}
        if name == "openvino":
            libraries, config = openvino_libraries(), (openvino or OpenVinoOptions()).config()
        elif name != "torchscript":
            config = (tensorrt or TensorRtOptions()).config(int(name.removeprefix("tensorrt")))
        register(name, str(plugin_path(name)), libraries, config)


def built_backends() -> list[str]:
    """Return the names of the built backends. Each major version of TensorRT has its own:
    `tensorrt8`, `tensorrt11`."""
    found = (
        re.fullmatch(r"libtrtserve_backend_(openvino|tensorrt\d+|torchscript)\.so", file.name)
        for file in PLUGIN_DIR.iterdir()
    )
    return sorted(match[1] for match in found if match)


def plugin_path(name: str) -> Path:
    """Return the path of a backend's plugin library; the file exists only if it was built."""
    return PLUGIN_DIR / f"libtrtserve_backend_{name}.so"
