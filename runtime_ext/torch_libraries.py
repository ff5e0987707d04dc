"""Loads the libraries of torch, to which the extension links: by importing torch, or alone.

The modules of torch take some 75 MB and a second. A server uses none of them, so it sets RUNTIME_EXT_TORCH to
`libraries` in its environment and in that of its child processes. Everybody else expects that the import of
this package makes the operators known to torch. torch can still be imported later.

A torch with CUDA is always imported: its modules also find CUDA's libraries.
"""

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

VARIABLE, ALONE = "RUNTIME_EXT_TORCH", "libraries"


def _load_alone() -> bool:
    """Load them as `import torch` does; False if that is not possible here."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return False
    libraries = Path(spec.submodule_search_locations[0]) / "lib"
    if (libraries / "libtorch_cuda.so").exists():
        return False
    try:
        ctypes.CDLL(str(libraries / "libtorch_global_deps.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(libraries / "libtorch_python.so"))
    except OSError:
        return False
    return True


WITHOUT_TORCH = os.environ.get(VARIABLE) == ALONE and "torch" not in sys.modules and _load_alone()
if not WITHOUT_TORCH:
    import torch  # noqa: F401
