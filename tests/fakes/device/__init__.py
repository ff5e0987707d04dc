"""A fake accelerator, torch's device "fake": streams are truly asynchronous, and breaches of contract are
recorded.

`load()` makes it torch's PrivateUse1 until the process ends; control.h documents each function.
"""

import ctypes
from functools import cache
from types import ModuleType

import torch

from runtime_ext.backends import PLUGIN_DIR

LIBRARY = PLUGIN_DIR / "libtrtserve_fake_device.so"

_NOTHING: list[type] = []
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "fake_device_memory": (ctypes.c_int64, _NOTHING),
    "fake_device_peak": (ctypes.c_int64, _NOTHING),
    "fake_device_reset_peak": (None, _NOTHING),
    "fake_pinned_memory": (ctypes.c_int64, _NOTHING),
    "fake_device_limit": (None, [ctypes.c_int64]),
    "fake_device_break": (None, [ctypes.c_char_p]),
    "fake_device_break_one": (None, [ctypes.c_int, ctypes.c_char_p]),
    "fake_device_count": (ctypes.c_int, _NOTHING),
    "fake_device_count_set": (None, [ctypes.c_int]),
    "fake_breaches": (ctypes.c_char_p, _NOTHING),
    "fake_breaches_clear": (None, _NOTHING),
    "fake_device_hold": (None, _NOTHING),
    "fake_stream_hold": (None, [ctypes.c_void_p]),
    "fake_device_release": (None, _NOTHING),
    "fake_device_pending": (ctypes.c_int64, _NOTHING),
    "fake_device_await_pending": (None, [ctypes.c_int64]),
    "fake_device_await_waiting": (None, [ctypes.c_int64]),
    "fake_busy_streams": (ctypes.c_int, [ctypes.c_int]),
    "fake_device_touched": (ctypes.c_int, [ctypes.c_int]),
    "fake_capture_begin": (None, [ctypes.c_void_p]),
    "fake_capture_end": (ctypes.c_int64, [ctypes.c_void_p]),
}


@cache
def load() -> ctypes.CDLL:
    """Load the library with the device's controls; its calls release the GIL."""
    library = ctypes.CDLL(str(LIBRARY))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    torch._register_device_module("fake", _device_module(library))
    return library


def _device_module(library: ctypes.CDLL) -> ModuleType:
    """Make the `torch.fake` module that torch's Python side needs before it first uses the device."""
    module = ModuleType("torch.fake")
    module._lazy_init = lambda: None
    module.device_count = library.fake_device_count
    module.is_available = lambda: library.fake_device_count() > 0
    return module
