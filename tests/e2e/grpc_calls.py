"""Requests over gRPC, made with the stubs of tritonclient."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.e2e.server import Server


@contextmanager
def stub(server: Server, **options: int) -> Iterator[Any]:
    """A stub of a server's service; `options` are channel options without the prefix `grpc.`."""
    arguments = [(f"grpc.{name}", value) for name, value in options.items()]
    with grpc.insecure_channel(server.grpc_address, arguments) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def raw(name: str, x: np.ndarray[Any, Any], datatype: str = "FP32", input: str = "x", **more: Any) -> Any:
    """A request for the model `name` with one input."""
    return pb.ModelInferRequest(
        model_name=name,
        inputs=[{"name": input, "datatype": datatype, "shape": x.shape}],
        raw_input_contents=[x.tobytes()],
        **more,
    )


def only_output(answer: Any, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    (output,), (data,) = answer.outputs, answer.raw_output_contents
    return np.frombuffer(data, dtype).reshape(output.shape)


def refusal(call: Any, *arguments: Any, **options: Any) -> grpc.RpcError:
    """Run a call that must fail; return its error."""
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call went well")


X = np.arange(8, dtype=np.float32).reshape(2, 4)
LONG = raw("slow", np.ones((4096, 512), np.float32))  # runs for a second or two on few cores
SHORT = raw("slow", np.ones((1, 512), np.float32))


def add(server: Server, plan: bytes, **options: object) -> Server:
    server.client.post("/engines", params=options, content=plan).raise_for_status()
    return server


def occupied(server: Server, service: Any, waiting: int) -> list[Any]:
    """Calls of `slow`, which has one instance: a long one that runs, and `waiting` more behind it."""
    calls = [service.ModelInfer.future(LONG)]
    server.wait_until_busy("slow")
    calls += [service.ModelInfer.future(SHORT) for _ in range(waiting)]
    server.wait_until_queued("slow", waiting)
    return calls


def error_count(server: Server, code: str) -> float:
    return server.metric("trtserve_errors_total", code=code)


def outcome(server: Server, kind: str) -> float:
    return server.metric("trtserve_requests_total", engine="slow", outcome=kind)
