"""Which backends this installation has, and a runtime with all of them."""

import importlib.util
from pathlib import Path

from runtime_ext import _C

PLUGIN_DIR = Path(_C.__file__).parent / "backends"


def create_runtime(*, clock: _C.ManualClock | None = None) -> _C.Runtime:
    """The runtime of this process, with every backend that was built registered; none is opened yet."""
    runtime = _C.Runtime(clock=clock)
    openvino = plugin_path("openvino")
    if openvino.exists():
        runtime.register_backend("openvino", str(openvino), _openvino_libraries())
    return runtime


def plugin_path(name: str) -> Path:
    """Where the plugin library of a backend lies, if it was built."""
    return PLUGIN_DIR / f"libtrtserve_backend_{name}.so"


def _openvino_libraries() -> list[str]:
    """The library that the plugin links to, which lies in the openvino package, outside the loader's path."""
    spec = importlib.util.find_spec("openvino")
    if spec is None or not spec.submodule_search_locations:
        return []  # the loader then says what is missing
    libraries = Path(spec.submodule_search_locations[0], "libs")
    return [str(path) for path in sorted(libraries.glob("libopenvino.so.*"))]
