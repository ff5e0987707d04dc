"""The ways through a server: HTTP in binary form on the loopback interface, and with shared memory."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from bench.compiled import compiled
from bench.gpu import WayFailed, threads
from bench.gpu.card import Card
from runtime_ext import TensorSpec
from tests.e2e.server import Server

NAME = "model"
SHARED = Path("/dev/shm")
INSTANCES = 4  # two stage their requests while two compute
ANSWERED_S = 0.001  # of a load for the sake of its answer
LOG_CHARACTERS = 2000  # of a server's log, told with a failure
LENGTH = b"\r\ninference-header-content-length: "
Variant = bool | str
"""Which of the servers; the benchmark's two differ in whether they use CUDA graphs."""


GRAPHS: Mapping[Variant, Mapping[str, str]] = {False: {"cuda_graphs": "off"}, True: {"cuda_graphs": "on"}}


class Specs(Protocol):
    """The plan's input and outputs."""

    input: TensorSpec

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...


class Served:
    """Servers with the plan, which differ in one option of its upload, and regions of shared memory.

    Every connection has a part of its own in the regions, with room for the largest batch `x`. All read the
    same input if there is too little shared memory.
    """

    def __init__(
        self, servers: dict[Variant, Server], folder: Path, x: np.ndarray, of: Specs, *, connections: int
    ) -> None:
        self._servers = servers
        self._folder = folder
        self._of = of
        self._connections = connections
        item_bytes = sum(int(np.prod((spec.shape or [])[1:])) * 4 for spec in of.outputs)
        self._room = {"in": x.nbytes, "out": item_bytes * len(x)}
        fits = 2 * sum(self._room.values()) * connections < shutil.disk_usage(SHARED).free
        self._inputs = connections if fits else 1
        self._shared = {
            "in": np.tile(x.ravel(), self._inputs).tobytes(),
            "out": bytes(self._room["out"] * connections),
        }
        for which, content in self._shared.items():
            self._object(which).write_bytes(content)
            for server in servers.values():
                body = {"key": self._object(which).name, "byte_size": len(content)}
                url = f"/v2/systemsharedmemory/region/{which}/register"
                server.client.post(url, json=body).raise_for_status()

    def close(self) -> None:
        for which in self._shared:
            self._object(which).unlink(missing_ok=True)

    def http(self, x: np.ndarray, which: Variant, seconds: float) -> dict[str, float]:
        """Bodies with the tensors."""
        return self._loaded(which, [self._binary(x)] * self._connections, seconds)

    def shared_memory(self, x: np.ndarray, which: Variant, seconds: float) -> dict[str, float]:
        """Inputs and outputs in shared memory."""
        files = [self._in_shared_memory(x, place) for place in range(self._connections)]
        return self._loaded(which, files, seconds)

    def lone_http(self, x: np.ndarray, which: Variant, seconds: float) -> dict[str, float]:
        """One request after the other."""
        return self._loaded(which, [self._binary(x)], seconds)

    def lone_shared_memory(self, x: np.ndarray, which: Variant, seconds: float) -> dict[str, float]:
        return self._loaded(which, [self._in_shared_memory(x, 0)], seconds)

    def http_answer(self, x: np.ndarray, which: Variant) -> np.ndarray:
        """The values of all outputs."""
        self.lone_http(x, which, ANSWERED_S)
        head, _, body = (self._folder / "answer").read_bytes().partition(b"\r\n\r\n")
        described = int(head.lower().partition(LENGTH)[2].split(b"\r\n")[0])
        return np.frombuffer(body[described:], np.float32)

    def shared_memory_answer(self, x: np.ndarray, which: Variant) -> np.ndarray:
        """The values of all outputs."""
        self._object("out").write_bytes(bytes(self._room["out"] * self._connections))
        self.lone_shared_memory(x, which, ANSWERED_S)
        return np.fromfile(self._object("out"), np.float32, sum(self._output_bytes(len(x))) // 4)

    def _object(self, which: str) -> Path:
        return SHARED / f"trtserve-bench-{os.getpid()}-{which}"

    def _output_bytes(self, batch: int) -> list[int]:
        return [int(np.prod((spec.shape or [])[1:])) * 4 * batch for spec in self._of.outputs]

    def _binary(self, x: np.ndarray) -> Path:
        described = self._input(x) | {"parameters": {"binary_data_size": x.nbytes}}
        document = {"inputs": [described], "parameters": {"binary_data_output": True}}
        return self._request(f"binary-{len(x)}", document, x.tobytes())

    def _in_shared_memory(self, x: np.ndarray, place: int) -> Path:
        def part(which: str, offset: int, size: int) -> dict[str, Any]:
            at = (place % self._inputs if which == "in" else place) * self._room[which] + offset
            return {
                "shared_memory_region": which,
                "shared_memory_byte_size": size,
                "shared_memory_offset": at,
            }

        outputs, offset = [], 0
        for spec, size in zip(self._of.outputs, self._output_bytes(len(x)), strict=True):
            outputs.append({"name": spec.name, "parameters": part("out", offset, size)})
            offset += size
        document = {
            "inputs": [self._input(x) | {"parameters": part("in", 0, x.nbytes)}],
            "outputs": outputs,
        }
        return self._request(f"shared-{len(x)}-{place}", document, b"")

    def _input(self, x: np.ndarray) -> dict[str, Any]:
        spec = self._of.input
        return {"name": spec.name, "datatype": spec.datatype, "shape": list(x.shape)}

    def _request(self, name: str, document: dict[str, Any], data: bytes) -> Path:
        path = self._folder / name
        if not path.exists():
            described = json.dumps(document, separators=(",", ":")).encode()
            head = (
                f"POST /engines/{NAME}/infer HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Length: {len(described) + len(data)}\r\n"
                f"Inference-Header-Content-Length: {len(described)}\r\n\r\n"
            )
            path.write_bytes(head.encode() + described + data)
        return path

    def _loaded(self, which: Variant, requests: list[Path], seconds: float) -> dict[str, float]:
        server = self._servers[which]
        program = compiled("gpu/closed_loop.cpp", "closed_loop", "-pthread")
        url = server.client.base_url
        command = [str(program), url.host, str(url.port), str(seconds), str(self._folder / "answer")]
        before, cpu = self._phases(server), threads.cpu_us(server.process.pid)
        run = subprocess.run([*command, *map(str, requests)], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise WayFailed(f"the load failed: {run.stderr}\n{server.log[-LOG_CHARACTERS:]}")
        load: dict[str, float] = json.loads(run.stdout)
        if load["errors"]:
            raise WayFailed(f"{load['errors']} connections failed\n{server.log[-LOG_CHARACTERS:]}")
        after = self._phases(server)
        done = after.pop("requests") - before.pop("requests")
        spent = threads.between(cpu, threads.cpu_us(server.process.pid), done)
        return load | {name: (after[name] - before[name]) / done / 1000 for name in after} | spent

    @staticmethod
    def _phases(server: Server) -> dict[str, int]:
        answer = server.client.get(f"/v2/models/{NAME}/stats").raise_for_status().json()
        stats = answer["model_stats"][0]["inference_stats"]
        phases = ("queue", "compute_input", "compute_infer", "compute_output")
        return {name: stats[name]["ns"] for name in phases} | {"requests": stats["success"]["count"]}


@contextmanager
def serving(
    card: Card,
    plan: Path,
    x: np.ndarray,
    of: Specs,
    *,
    connections: int,
    variants: Mapping[Variant, Mapping[str, str]] = GRAPHS,
) -> Iterator[Served]:
    """Start a server for each variant and load the plan with its options; `x` is the largest batch."""
    options = ("--shared-memory", "trtserve-bench-*", "--trial-load", "off", "--log-level", "warning")
    servers: dict[Variant, Server] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="trtserve-bench-")))
        for place, (variant, own) in enumerate(variants.items()):
            server = stack.enter_context(Server(folder / str(place), *options, command=card.server))
            wanted: dict[str, str | int] = {"name": NAME, "instances": INSTANCES, **own}
            answer = server.client.post("/engines", params=wanted, content=plan.read_bytes())
            answer.raise_for_status()
            servers[variant] = server
        served = Served(servers, folder, x, of, connections=connections)
        stack.callback(served.close)
        yield served
