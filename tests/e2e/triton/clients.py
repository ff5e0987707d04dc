"""The four clients of the package tritonclient, unmodified, behind one surface.

They differ in what is awaited and in the form of answers: JSON over HTTP, messages over gRPC.
"""

import asyncio
import importlib
import inspect
from collections.abc import Callable, Coroutine, Sequence
from types import ModuleType
from typing import Any, Self, TypeVar

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.e2e.server import Server

KINDS = ("http", "http.aio", "grpc", "grpc.aio")
EVERYWHERE = pytest.mark.parametrize("kind", KINDS)
HTTP = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("http")])
GRPC = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("grpc")])
SHARED = "trtserve-test-"  # prefix of the keys that the server allows
X = np.arange(8, dtype=np.float32).reshape(2, 4)


Test = TypeVar("Test", bound=Callable[..., None])


def also_holds(*methods: str) -> Callable[[Test], Test]:
    """Mark a test that also covers the table rows of these methods."""

    def mark(test: Test) -> Test:
        test.also_holds = methods  # type: ignore[attr-defined]
        return test

    return mark


def rows_of(test: Callable[..., None]) -> set[str]:
    """The methods whose table rows a test covers."""
    return {test.__name__.removeprefix("test_"), *getattr(test, "also_holds", ())}


def module_of(kind: str) -> ModuleType:
    return importlib.import_module(f"tritonclient.{kind}")


def client_methods(kind: str) -> set[str]:
    """The public methods of a client."""
    client = module_of(kind).InferenceServerClient
    return {name for name, _ in inspect.getmembers(client, callable) if not name.startswith("_")}


class TritonClient:
    """One of the clients; a call awaits the method if it must be awaited."""

    def __init__(self, kind: str, server: Server) -> None:
        self.kind = kind
        self.is_grpc = kind.startswith("grpc")
        self.module = module_of(kind)
        self._loop = asyncio.new_event_loop() if kind.endswith(".aio") else None
        address = server.grpc_address if self.is_grpc else server.client.base_url.netloc.decode()
        self.client = self.run(self._made(address))

    async def _made(self, address: str) -> Any:
        return self.module.InferenceServerClient(address)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine, on the client's loop if it has one."""
        loop = self._loop or asyncio.new_event_loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            if loop is not self._loop:
                loop.close()

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method; return its answer, a message as JSON."""
        function = getattr(self.client, method)
        if self.is_grpc and "as_json" in inspect.signature(function).parameters:
            options["as_json"] = True
        result = function(*args, **options)
        return self.run(result) if inspect.isawaitable(result) else result

    def input(self, name: str, array: np.ndarray, datatype: str = "FP32", **how: Any) -> Any:
        tensor = self.module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **how)
        return tensor

    def infer(self, model: str, inputs: Sequence[Any], **options: Any) -> Any:
        return self.call("infer", model, inputs, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.call("close")
        if self._loop is not None:
            self._loop.close()


def upload(server: Server, plan: bytes, name: str = "net", **options: str | int) -> None:
    server.client.post("/engines", params={"name": name, **options}, content=plan).raise_for_status()


def refused(client: TritonClient, method: str, *args: Any, **options: Any) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as raised:
        client.call(method, *args, **options)
    assert raised.value.message().strip().endswith((".", "?")), "a sentence"
    return raised.value


def is_unsupported(error: InferenceServerException) -> bool:
    return error.status() in {"501", "StatusCode.UNIMPLEMENTED"}


def doubled(client: TritonClient, factor: int = 2, **options: Any) -> None:
    """Check that the model answers with `factor` times its input."""
    result = client.infer("net", [client.input("x", X)], **options)
    np.testing.assert_array_equal(result.as_numpy("y"), factor * X)
