"""What one run measures: the backend and its library, and the GPU; or the fakes, which only show that the
benchmark works."""

import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path

import torch

import runtime_ext
from runtime_ext.backends import PLUGIN_DIR, built_backends, plugin_path

PREFIX = "tensorrt"  # of a generation's backend, before its major version


@dataclass(frozen=True)
class Card:
    """A runtime with the backend that runs the plan, and what a program needs to do without both."""

    runtime: runtime_ext.Runtime
    backend: str  # in that runtime
    device: str  # torch's name for the kind of device
    library: Path  # TensorRT's runtime library
    cuda_runtime: Path  # the library
    headers: tuple[Path, ...]  # folders of TensorRT's and CUDA's
    server: tuple[str, ...]  # the command that serves
    machine: dict[str, str]  # facts for the report, by name


def real(backend: str | None, library: Path | None) -> Card:
    """The GPU of this machine with the newest backend whose library can be opened, or the named ones.

    Exits with a sentence if something is missing.
    """
    if not torch.cuda.is_available():
        raise SystemExit("error: torch sees no GPU; --toy shows without one that the benchmark works")
    torch.zeros(1, device="cuda")  # opens CUDA's runtime
    runtime = runtime_ext.Runtime() if library else runtime_ext.create_runtime()
    generations = [name for name in built_backends() if name.startswith(PREFIX)]
    newest_first = sorted(generations, key=lambda name: -int(name.removeprefix(PREFIX)))
    names = [backend] if backend else newest_first
    reasons = [f"the built backends are {', '.join(built_backends())}"]
    for name in names:
        try:
            if library:
                runtime.register_backend(name, str(plugin_path(name)), config={"libraries": str(library)})
            version = runtime.backend_version(name)
        except runtime_ext.Error as error:
            reasons.append(f"{name}: {error}")
            continue
        opened = _mapped(r"libnvinfer(_lean)?\.so")
        serve = [sys.executable, "-P", "-m", "trtserve", "serve"]
        return Card(
            runtime=runtime,
            backend=name,
            device="cuda",
            library=opened,
            cuda_runtime=_mapped(r"libcudart\.so"),
            headers=(_tensorrt_headers(int(name.removeprefix(PREFIX))), _cuda_headers()),
            server=(*serve, "--tensorrt-library", str(opened)),
            machine=_machine(version),
        )
    raise SystemExit(f"error: no TensorRT backend can be used: {'; '.join(reasons)}")


def toy() -> Card:
    """The fake TensorRT on the fake device of the tests: times mean nothing there."""
    from tests.fakes import tensorrt as sdk

    import_module("tests.fakes.device").load()  # by name: the module is not strictly typed
    runtime = runtime_ext.Runtime()
    plugin = str(plugin_path("tensorrt_fake"))
    runtime.register_backend("tensorrt11", plugin, config={"libraries": str(sdk.V11.library)})
    serve = [sys.executable, "-m", "tests.fakes.tensorrt.serve", "serve"]
    return Card(
        runtime=runtime,
        backend="tensorrt11",
        device="fake",
        library=sdk.V11.library,
        cuda_runtime=PLUGIN_DIR / "libcudart_fake.so",
        headers=(Path(sdk.__file__).parent / "include",),
        server=(*serve, "--tensorrt-library", str(sdk.V11.library)),
        machine={"GPU": "none: the tests' fakes", "TensorRT": runtime.backend_version("tensorrt11")},
    )


def _mapped(name: str) -> Path:
    """The library of that name that this process has opened: a program of its own must open the same."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if re.match(name, Path(path).name):
            return Path(path)
    raise SystemExit(f"error: no library {name} is open in this process")


def _tensorrt_headers(major: int) -> Path:
    given = re.split("[:;]", os.environ.get("TENSORRT_INCLUDE_DIR", ""))
    system = Path("/usr/include")
    downloaded = (Path(__file__).resolve().parents[2] / "build").glob("*/tensorrt-*")
    for folder in [*map(Path, filter(None, given)), *system.glob("*-linux-gnu"), system, *downloaded]:
        version = folder / "NvInferVersion.h"
        if not version.exists():
            continue
        said = re.search(r"define (?:TRT_MAJOR_ENTERPRISE|NV_TENSORRT_MAJOR) (\d+)", version.read_text())
        if said and int(said[1]) == major:
            return folder
    raise SystemExit(f"error: there are no headers of TensorRT {major}: name them in TENSORRT_INCLUDE_DIR")


def _cuda_headers() -> Path:
    packages = Path(sysconfig.get_path("platlib")).glob("nvidia/cu*/include")
    named = [os.environ.get("CUDA_INCLUDE_DIR"), os.environ.get("CUDA_HOME", "/usr/local/cuda") + "/include"]
    for folder in [*map(Path, filter(None, named)), *packages]:
        if (folder / "crt" / "host_defines.h").exists():
            return folder
    raise SystemExit("error: there are no headers of CUDA's runtime: name their folder in CUDA_INCLUDE_DIR")


def _machine(tensorrt: str) -> dict[str, str]:
    major, minor = torch.cuda.get_device_capability()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "GPU": f"{torch.cuda.get_device_name()} (compute capability {major}.{minor})",
        "driver": _said(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]),
        "TensorRT": tensorrt,
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "CPU": f"{cpu[1] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "day": datetime.now().astimezone().date().isoformat(),
    }


def _said(command: Iterable[str]) -> str:
    try:
        return subprocess.run([*command], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
