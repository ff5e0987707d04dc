"""Where the shared libraries behind the backends lie: found in installed packages, none of them imported."""

import importlib.util
from pathlib import Path

TENSORRT_PACKAGES = {"tensorrt_libs": "libnvinfer.so.*", "tensorrt_lean_libs": "libnvinfer_lean.so.*"}
"""Packages that hold TensorRT's runtime library, and its file there; the full one, which runs more, first."""

TENSORRT_SONAMES = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer_lean.so.11", "libnvinfer_lean.so.10")
"""What the system's loader may know it as: the full library before the lean one, the newest first."""


def openvino_libraries() -> list[str]:
    """The library that the openvino plugin links to; it lies outside the loader's path."""
    # None: the loader then says what is missing.
    return [str(path) for path in _files_of("openvino", "libs/libopenvino.so.*")]


def tensorrt_candidates(library: Path | None) -> list[str]:
    """Paths and names of TensorRT's runtime library, to be tried in this order; `library`, if given, alone.

    Whether one can be opened, and is of the version that the backend was compiled for, is for the backend
    to find out.
    """
    if library is not None:
        return [str(library)]
    packaged = [file for package, name in TENSORRT_PACKAGES.items() for file in _files_of(package, name)]
    return [*map(str, packaged), *TENSORRT_SONAMES]


def _files_of(package: str, pattern: str) -> list[Path]:
    """Files of an installed package, sorted; none where it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module of that name that was made by hand has no spec
        return []
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(file for folder in spec.submodule_search_locations for file in Path(folder).glob(pattern))
