"""`trtserve` with the fake TensorRT and the fake device: python -m tests.fakes.tensorrt.serve serve …

The fakes pass for TensorRT 11. Trial loads must be off: their processes do not know the fakes.
"""

from pathlib import Path

import runtime_ext.backends
from runtime_ext.backends import plugin_path
from tests.fakes import device

BACKEND = "tensorrt11"


def _plugin_path(name: str) -> Path:
    return plugin_path("tensorrt_fake" if name == BACKEND else name)


def main() -> None:
    device.load()
    # Before the service is imported, which takes its own references to them.
    runtime_ext.backends.built_backends = lambda: [BACKEND]
    runtime_ext.backends.plugin_path = _plugin_path
    from trtserve.cli.main import main as trtserve

    trtserve()


if __name__ == "__main__":
    main()
