"""Finds the shared libraries behind the backends in installed packages, without importing them."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

TENSORRT_PACKAGES = {
    "tensorrt_libs": "libnvinfer.so",
    "tensorrt": "libnvinfer.so",  # before TensorRT 8.6, the package holds the library itself
    "tensorrt_lean_libs": "libnvinfer_lean.so",
}
"""Packages with TensorRT's runtime library, and its file; the full library, which runs more plans, first."""

TENSORRT_SONAMES = ("libnvinfer.so", "libnvinfer_lean.so")
"""Names for the system's loader, to be followed by the major version; the full library first."""


def openvino_libraries() -> list[str]:
    """Return the library that the openvino plugin links to; it is outside the loader's path."""
    # If the list is empty, the loader reports what is missing.
    return [str(path) for path in _files_of("openvino", "libs/libopenvino.so.*")]


def library_major(library: Path) -> int | None:
    """Return the major version in a library's file name: 11 for libnvinfer.so.11; None if it has none."""
    number = re.search(r"\.so\.(\d+)", library.name)
    return int(number[1]) if number else None


def tensorrt_candidates(libraries: Sequence[Path], major: int) -> list[str]:
    """Return paths and names of TensorRT's runtime library for a major version, in the order to try.

    `libraries` are configured, for any major version. If some are for this one, or have no version in their
    file names, those are the only candidates. The backend checks whether one can be opened and has the
    version that it was compiled for.
    """
    configured = [str(library) for library in libraries if library_major(library) in {None, major}]
    if configured:
        return configured
    packaged = [
        file for package, name in TENSORRT_PACKAGES.items() for file in _files_of(package, f"{name}.{major}*")
    ]
    return [*map(str, packaged), *(f"{name}.{major}" for name in TENSORRT_SONAMES)]


def _files_of(package: str, pattern: str) -> list[Path]:
    """Return the sorted files of an installed package; empty if it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a handmade module of that name has no spec
        return []
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(file for folder in spec.submodule_search_locations for file in Path(folder).glob(pattern))
