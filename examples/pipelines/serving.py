"""Serves a pipeline: uploads its networks and its module to a server, and asks that over HTTP."""

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from comparing import Pipeline
from exporting import export
from torch import Tensor, nn

import runtime_ext  # noqa: F401  # torch.jit.script needs the operators trt::

if TYPE_CHECKING:
    import httpx

Tensors = dict[str, tuple[str, list[int]]]
"""Datatype and shape of each tensor, by its name; -1 is a size that varies."""


def chosen_server(about: str | None) -> "Server | None":
    """The server that the command line names; None without one."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--server", metavar="URL", help="run on this server, not in this process")
    url = parser.parse_args().server
    return None if url is None else Server(url)


class Called(nn.Module):
    """In place of a network with one output: calls the server's engine of this name."""

    __constants__ = ("name",)  # the server must know which engines a module calls

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.trt.execute_engine_list(torch.ops.trt.engine(self.name), [x])[0]


class CalledForTwo(nn.Module):
    """Calls the engine of a network with two outputs, by its name."""

    __constants__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        results = torch.ops.trt.execute_engine_list(torch.ops.trt.engine(self.name), [x])
        return results[0], results[1]


class Server:
    """A running server."""

    def __init__(self, url: str) -> None:
        import httpx  # here, so that a pipeline in one process needs no client

        self.client = httpx.Client(base_url=url, timeout=60)

    def engine(self, net: nn.Module, example: Tensor, name: str) -> None:
        """Upload the network as an engine of this name; the answer comes once it is ready."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "net.onnx"
            export(net, example, file)
            with file.open("rb") as plan:
                engine = checked(self.client.post("/engines", params={"name": name}, content=plan)).json()
        print(f"engine {engine['id']}: {name}")

    def module(
        self, pipeline: nn.Module, name: str, *, inputs: Tensors, outputs: Tensors, max_batch_size: int = 1
    ) -> Pipeline:
        """Upload the pipeline as a module of this name; return what runs it there."""
        tensors = {"inputs": described(inputs), "outputs": described(outputs)}
        archive = io.BytesIO()
        torch.jit.save(
            torch.jit.script(pipeline.eval()), archive, _extra_files={"trtserve.json": json.dumps(tensors)}
        )
        answer = self.client.post(
            "/modules",
            params={"name": name, "max_batch_size": max_batch_size},
            content=archive.getvalue(),
        )
        module = checked(answer).json()
        print(f"module {module['id']}: {name}, which calls {module['uses']}")

        def run(*given: Tensor) -> tuple[Tensor, ...]:
            found = self.infer(name, dict(zip(inputs, given, strict=True)))
            return tuple(found[output] for output in outputs)

        return run

    def infer(self, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Send tensors as bytes, and receive them so."""
        import safetensors.torch

        answer = self.client.post(
            f"/modules/{name}/infer",
            content=safetensors.torch.save({key: tensor.contiguous() for key, tensor in tensors.items()}),
            headers={"Content-Type": "application/x-safetensors"},
        )
        return safetensors.torch.load(checked(answer).content)


def described(tensors: Tensors) -> list[dict[str, object]]:
    return [
        {"name": name, "datatype": datatype, "shape": shape} for name, (datatype, shape) in tensors.items()
    ]


def checked(answer: "httpx.Response") -> "httpx.Response":
    """Return the answer, or exit with the server's error sentence."""
    if answer.is_error:
        sys.exit(f"error: {answer.status_code}: {answer.json()['error']}")
    return answer
