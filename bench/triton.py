"""Triton as a peer of the front end, from a venv with nvidia-pytriton, which contains its binary.

It runs twice: with y = 2x in its C++ backend interface (bench/triton_double.cpp), which measures Triton
itself, and in its Python backend, the only one in the package.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from bench.compiled import compiled
from bench.wrk import on_core

STARTS_WITHIN_S = 120
STOPS_WITHIN_S = 30

MODELS = {"identity": "16", "image": "3, 224, 224"}

CONFIG = """
name: "{name}"
backend: "{backend}"
max_batch_size: 64
input [{{ name: "INPUT0", data_type: TYPE_FP32, dims: [{dims}] }}]
output [{{ name: "OUTPUT0", data_type: TYPE_FP32, dims: [{dims}] }}]
instance_group [{{ kind: KIND_CPU, count: 1 }}]
dynamic_batching {{ }}
"""

PYTHON_MODEL = """
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        inputs = [triton.get_input_tensor_by_name(request, "INPUT0").as_numpy() for request in requests]
        return [triton.InferenceResponse([triton.Tensor("OUTPUT0", x + x)]) for x in inputs]
"""


@contextmanager
def peers(venv: Path | None, folder: Path, core: int, *, grpc: bool = False) -> Iterator[dict[str, str]]:
    """Yield the name and URL, or address for gRPC, of both servers on one core; nothing without a venv."""
    with ExitStack() as stack:
        urls = {}
        if venv is not None:
            triton = Triton(venv)
            backends = triton.backends(Path(tempfile.mkdtemp(prefix="triton-backends-", dir=folder)))
            for name, backend in {"triton-c++": "double", "triton-python": "python"}.items():
                models = _repository(folder / f"models-{backend}", backend)
                urls[name] = stack.enter_context(triton.serving(models, backends, core, grpc=grpc))
        yield urls


class Triton:
    """The server from the package nvidia-pytriton in a venv."""

    def __init__(self, venv: Path) -> None:
        found = sorted(venv.glob("lib/python3*/site-packages/pytriton/tritonserver/bin/tritonserver"))
        if not found:
            raise SystemExit(
                f"error: {venv} has no tritonserver; make it with: python3 -m venv {venv} && "
                f"{venv}/bin/pip install nvidia-pytriton"
            )
        self._binary = found[0]
        self._home = self._binary.parents[1]
        self._packages = self._home.parents[1]

    def backends(self, folder: Path) -> Path:
        """Make a folder with both backends, without writing into the venv."""
        (folder / "double").mkdir(parents=True)
        shared = ("-shared", "-fPIC", "-fvisibility=hidden")
        library = compiled("triton_double.cpp", "libtriton_double.so", *shared)
        (folder / "double" / library.name).symlink_to(library)
        (folder / "python").mkdir()
        version = self._packages.parent.name.removeprefix("python")
        stub = self._home / "python_backend_stubs" / version / "triton_python_backend_stub"
        for path in [stub, *(self._home / "backends" / "python").iterdir()]:
            link = folder / "python" / path.name
            if not link.exists():
                link.symlink_to(path)
        return folder

    @contextmanager
    def serving(self, models: Path, backends: Path, core: int, *, grpc: bool = False) -> Iterator[str]:
        """Yield the URL of the models, or the address for gRPC, once all are ready."""
        port, grpc_port = free_port(), free_port()
        log = models.with_suffix(".log")
        command = [
            str(self._binary),
            f"--model-repository={models}",
            f"--backend-directory={backends}",
            f"--cache-directory={self._home / 'caches'}",
            f"--http-port={port}",
            "--http-address=127.0.0.1",
            *((f"--grpc-port={grpc_port}", "--grpc-address=127.0.0.1") if grpc else ("--allow-grpc=false",)),
            "--allow-metrics=false",
        ]
        with log.open("w") as written, on_core(core):
            process = subprocess.Popen(
                command, stdout=written, stderr=subprocess.STDOUT, env=self._environment()
            )
        try:
            if not becomes_ready(process, port):
                raise RuntimeError(f"Triton did not start; the end of its log:\n{log.read_text()[-2000:]}")
            yield f"127.0.0.1:{grpc_port}" if grpc else f"http://127.0.0.1:{port}/v2/models"
        finally:
            stop(process)

    def _environment(self) -> dict[str, str]:
        libraries = [str(self._packages / "nvidia_pytriton.libs"), os.environ.get("LD_LIBRARY_PATH", "")]
        path = [str(self._packages.parents[2] / "bin"), os.environ["PATH"]]  # where the stub finds Python
        return {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
            "PYTHONPATH": str(self._packages),
            "PATH": ":".join(path),
        }


def _repository(folder: Path, backend: str) -> Path:
    for name, dims in MODELS.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        config = CONFIG.format(name=name, backend=backend, dims=dims)
        (folder / name / "config.pbtxt").write_text(config)
        if backend == "python":
            (version / "model.py").write_text(PYTHON_MODEL)
    return folder


def free_port() -> int:
    """Return a port that was just free: Triton does not accept port 0."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def becomes_ready(process: subprocess.Popen[bytes], port: int, within_s: float = STARTS_WITHIN_S) -> bool:
    """Wait until a server of the Open Inference Protocol is ready; False if it ends, or takes too long."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200:
                return True
        except httpx.TransportError:  # it does not listen yet
            pass
        time.sleep(0.1)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
