"""Where the shared libraries behind the backends lie: found in installed packages, none of them imported."""

import importlib.util
from pathlib import Path

TENSORRT_PACKAGES = {
    "tensorrt_libs": "libnvinfer.so",
    "tensorrt": "libnvinfer.so",  # before TensorRT 8.6, the package holds the library itself
    "tensorrt_lean_libs": "libnvinfer_lean.so",
}
"""Packages that hold TensorRT's runtime library, and its file there; the full one, which runs more, first."""

TENSORRT_SONAMES = ("libnvinfer.so", "libnvinfer_lean.so")
"""What the system's loader may know it as, with the major version behind it: the full library first."""


def openvino_libraries() -> list[str]:
    """The library that the openvino plugin links to; it lies outside the loader's path."""
    # None: the loader then says what is missing.
    return [str(path) for path in _files_of("openvino", "libs/libopenvino.so.*")]


def tensorrt_candidates(library: Path | None, major: int) -> list[str]:
    """Paths and names of the runtime library of a major version of TensorRT, to be tried in this order;
    `library`, if given, alone.

    Whether one can be opened, and is of the version that the backend was compiled for, is for the backend
    to find out.
    """
    if library is not None:
        return [str(library)]
    packaged = [
        file for package, name in TENSORRT_PACKAGES.items() for file in _files_of(package, f"{name}.{major}*")
    ]
    return [*map(str, packaged), *(f"{name}.{major}" for name in TENSORRT_SONAMES)]


def _files_of(package: str, pattern: str) -> list[Path]:
    """Files of an installed package, sorted; none where it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module of that name that was made by hand has no spec
        return []
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(file for folder in spec.submodule_search_locations for file in Path(folder).glob(pattern))
