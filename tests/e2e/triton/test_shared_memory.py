"""Shared memory as the clients register and use it."""

import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tritonclient.utils import shared_memory

from tests.e2e.triton.clients import (
    EVERYWHERE,
    SHARED,
    TritonClient,
    X,
    also_holds,
    is_unsupported,
    refused,
)


@contextmanager
def region(name: str, size: int) -> Iterator[tuple[Any, str]]:
    """Shared memory that no other test uses, and its key."""
    key = f"{SHARED}{name}-{uuid.uuid4().hex}"
    handle = shared_memory.create_shared_memory_region(name, key, size, create_only=True)
    try:
        yield handle, key
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def regions(client: TritonClient, *name: str) -> dict[str, Any]:
    """The registered regions by name, over either protocol."""
    status = client.call("get_system_shared_memory_status", *name)
    if client.is_grpc:
        return status.get("regions", {})
    return {found["name"]: found for found in status}


@also_holds("get_system_shared_memory_status", "unregister_system_shared_memory")
@EVERYWHERE
def test_register_system_shared_memory(client: TritonClient) -> None:
    assert regions(client) == {}
    with region("a", 64) as (_, key):
        client.call("register_system_shared_memory", "mine", key, 32, 16)
        found = regions(client)["mine"]
        assert found["key"].lstrip("/") == key
        assert (int(found["offset"]), int(found["byte_size"])) == (16, 32)
        assert regions(client, "mine").keys() == {"mine"}
        large = refused(client, "register_system_shared_memory", "large", key, 65)
        assert "which has 64:" in large.message()
        other = refused(client, "register_system_shared_memory", "other", "somebody-elses", 8)
        assert "Allowed are" in other.message()
        client.call("unregister_system_shared_memory", "mine")
    assert regions(client) == {}


@EVERYWHERE
def test_register_cuda_shared_memory(client: TritonClient) -> None:
    handle = base64.b64encode(bytes(64))
    assert is_unsupported(refused(client, "register_cuda_shared_memory", "mine", handle, 0, 64))


@EVERYWHERE
def test_get_cuda_shared_memory_status(client: TritonClient) -> None:
    assert client.call("get_cuda_shared_memory_status") in ([], {})


@EVERYWHERE
def test_unregister_cuda_shared_memory(client: TritonClient) -> None:
    client.call("unregister_cuda_shared_memory")


@EVERYWHERE
def test_infer_through_shared_memory(client: TritonClient) -> None:
    with region("in", X.nbytes) as (inputs, in_key), region("out", X.nbytes) as (outputs, out_key):
        shared_memory.set_shared_memory_region(inputs, [X])
        client.call("register_system_shared_memory", "in", in_key, X.nbytes)
        client.call("register_system_shared_memory", "out", out_key, X.nbytes)
        tensor = client.module.InferInput("x", list(X.shape), "FP32")
        tensor.set_shared_memory("in", X.nbytes)
        output = client.module.InferRequestedOutput("y")
        output.set_shared_memory("out", X.nbytes)
        result = client.infer("net", [tensor], outputs=[output])
        output = result.get_output("y")
        assert output is not None
        if client.is_grpc:
            assert set(output.parameters) == {"shared_memory_region", "shared_memory_byte_size"}
            assert output.parameters["shared_memory_byte_size"].int64_param == X.nbytes
        else:  # like Triton: C++ clients read any parameters as those of a blob behind the JSON
            assert output.keys() == {"name", "shape", "datatype"}
        np.testing.assert_array_equal(
            shared_memory.get_contents_as_numpy(outputs, np.float32, X.shape), 2 * X
        )
        client.call("unregister_system_shared_memory")
