"""Runs a module of the project with the fake SDK as TensorRT 11.

`python -m tests.fakes.with_tensorrt MODULE ARGUMENTS…`. The child processes that it starts to build plans do
the same. The environment variable FAKE_GPU names the GPU that plans are built for, FAKE_GPUS says how many
there are.
"""

import os
import runpy
import sys

from runtime_ext import Runtime, backends, building
from tests.fakes import device
from tests.fakes import tensorrt as sdk
from tests.fakes.nvml import nvml

BACKEND = "tensorrt11"
MODULE = "tests.fakes.with_tensorrt"


def install() -> None:
    """Make the fake SDK the only TensorRT; call it before trtserve is imported."""
    gpus = int(os.environ.get("FAKE_GPUS", "1"))
    device.load().fake_device_count_set(gpus)
    sys.modules["pynvml"] = nvml(gpus)
    true_path, true_target = backends.plugin_path, building.build_target
    backends.built_backends = lambda: ["openvino", "torchscript", BACKEND]
    backends.plugin_path = lambda name: true_path("tensorrt_fake" if name == BACKEND else name)
    backends.tensorrt_candidates = lambda *_: [str(sdk.V11.library)]

    def build_target(runtime: Runtime, backend: str, device: str) -> str:
        return f"{true_target(runtime, backend, device)}, {os.environ.get('FAKE_GPU', 'Fake GPU')}"

    building.build_target = build_target


def main() -> None:
    install()
    from trtserve.plans import build

    build.COMMAND = (sys.executable, "-m", MODULE, "runtime_ext.building")
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
