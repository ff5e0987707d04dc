"""Clients that ask without pause and check every answer: HTTP, gRPC, streams of gRPC, and shared memory."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import httpx
import numpy as np
from safetensors.numpy import load, save
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import shared_memory

from tests.chaos.world import SHARED, World, is_right
from tests.e2e.grpc_calls import only_output, raw
from tests.e2e.test_residency import SIDE

BUSY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
PAUSE_S = 0.05  # after a refusal
# What a stream may say instead of an answer, where HTTP would have the status 503.
REFUSALS = re.compile(r"is still loading|unload or unpin engines|wait for memory|The server is stopping")


class Client(threading.Thread):
    """Asks until `over`; `ask` is one of the functions below."""

    def __init__(self, world: World, ask: "Ask", seed: int, over: threading.Event) -> None:
        super().__init__(daemon=True, name=ask.__name__)
        self._world = world
        self._ask = ask
        self._chance = random.Random(seed)
        self._over = over

    def run(self) -> None:
        while not self._over.is_set():
            life = self._world.life
            try:
                self._ask(self._world, self._chance, lambda life=life: self._goes_on(life))
            except AssertionError as wrong:
                self._world.fault(f"{self.name}: {wrong}")
            except (httpx.TransportError, grpc.RpcError, shared_memory.SharedMemoryException) as failure:
                if self._world.life == life and life % 2 == 0:
                    self._world.fault(f"{self.name}: {failure!r}"[:600])
                self._world.count("connections broken")
                time.sleep(PAUSE_S)

    def _goes_on(self, life: int) -> bool:
        return not self._over.is_set() and self._world.life == life


Ask = Callable[[World, random.Random, Callable[[], bool]], None]


def over_http(world: World, chance: random.Random, goes_on: Callable[[], bool]) -> None:
    with world.client() as client:
        while goes_on():
            name, number = world.pick(chance)
            x = _input(chance)
            token = world.token
            headers = {"Authorization": token, "Content-Type": "application/x-safetensors"}
            answer = client.post(f"/engines/{name}/infer", content=save({"x": x}), headers=headers)
            if _counts(world, "HTTP", answer, token):
                assert is_right(load(answer.content)["y"], x, number), f"{name} answers wrongly"


def over_shared_memory(world: World, chance: random.Random, goes_on: Callable[[], bool]) -> None:
    key = f"{SHARED}{chance.getrandbits(64):x}"
    handle = shared_memory.create_shared_memory_region(key, key, 2 * SIDE * 4, create_only=True)
    try:
        with world.client() as client:
            where = f"/v2/systemsharedmemory/region/{key}"
            told = {"key": key, "offset": 0, "byte_size": 2 * SIDE * 4}
            token = world.token
            answer = client.post(f"{where}/register", json=told, headers={"Authorization": token})
            if not _counts(world, "registration", answer, token):
                return
            while goes_on():
                _ask_in_memory(world, chance, client, handle, key)
            with suppress(httpx.TransportError):
                client.post(f"{where}/unregister", headers={"Authorization": world.token})
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def _ask_in_memory(world: World, chance: random.Random, client: httpx.Client, handle: Any, key: str) -> None:
    name, number = world.pick(chance)
    x = _input(chance, 1)
    shared_memory.set_shared_memory_region(handle, [x, np.zeros_like(x)])

    def place(offset: int) -> dict[str, Any]:
        return {
            "shared_memory_region": key,
            "shared_memory_offset": offset,
            "shared_memory_byte_size": SIDE * 4,
        }

    body = {
        "inputs": [{"name": "x", "shape": x.shape, "datatype": "FP32", "parameters": place(0)}],
        "outputs": [{"name": "y", "parameters": place(SIDE * 4)}],
    }
    token = world.token
    answer = client.post(f"/v2/models/{name}/infer", json=body, headers={"Authorization": token})
    if _counts(world, "shared memory", answer, token):
        y = shared_memory.get_contents_as_numpy(handle, np.float32, [1, SIDE], SIDE * 4)
        assert is_right(y, x, number), f"{name} answers wrongly in shared memory"


def over_grpc(world: World, chance: random.Random, goes_on: Callable[[], bool]) -> None:
    with world.channel() as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while goes_on():
            name, number = world.pick(chance)
            x = _input(chance)
            token = world.token
            try:
                answer = service.ModelInfer(raw(name, x), metadata=_metadata(token), timeout=60)
            except grpc.RpcError as failure:
                if not _is_refusal(world, failure, token):
                    raise
                continue
            assert is_right(only_output(answer), x, number), f"{name} answers wrongly over gRPC"
            world.count("answers over gRPC")


def over_a_stream(world: World, chance: random.Random, goes_on: Callable[[], bool]) -> None:
    asked: dict[str, tuple[str, np.ndarray[Any, Any], int]] = {}

    def requests() -> Iterator[pb.ModelInferRequest]:
        for id in map(str, range(50)):
            if not goes_on():
                return
            name, number = world.pick(chance)
            asked[id] = name, _input(chance), number
            yield raw(name, asked[id][1], id=id)

    token = world.token
    with world.channel() as channel:
        stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
        try:
            for answer in stream(requests(), metadata=_metadata(token), timeout=60):
                _check_streamed(world, answer, asked, lambda: goes_on() and token == world.token)
        except grpc.RpcError as failure:
            if not _is_refusal(world, failure, token):
                raise
            return
    if goes_on():
        assert not asked, f"{len(asked)} requests of a stream got no answer"


def _check_streamed(world: World, answer: Any, asked: dict[str, Any], is_known: Callable[[], bool]) -> None:
    """`is_known`: the server is the one that was asked, and the stream's token has not been taken back."""
    if answer.error_message:
        asked.pop(answer.infer_response.id, None)
        assert REFUSALS.search(answer.error_message) or not is_known(), f"in a stream: {answer.error_message}"
        world.count(f"refused in a stream: {re.sub('[0-9]+', '…', answer.error_message)[:70]}")
        return
    name, x, number = asked.pop(answer.infer_response.id)
    assert is_right(only_output(answer.infer_response), x, number), f"{name} answers wrongly in a stream"
    world.count("answers over streams")


def _input(chance: random.Random, rows: int = 0) -> np.ndarray[Any, Any]:
    rows = rows or chance.randrange(1, 4)
    return np.random.default_rng(chance.getrandbits(32)).standard_normal((rows, SIDE)).astype(np.float32)


def _metadata(token: str) -> tuple[tuple[str, str]]:
    return (("authorization", token),)


def _counts(world: World, what: str, answer: httpx.Response, token: str) -> bool:
    """Count an answer; True if it has a result. Raises AssertionError if the server may not give it."""
    if answer.status_code == 200:
        world.count(f"answers over {what}")
        return True
    allowed = answer.status_code in {429, 503} or (answer.status_code == 401 and token != world.token)
    assert allowed, f"{what}: {answer.status_code} {answer.text}"
    world.count(f"refused: {answer.status_code}")
    time.sleep(PAUSE_S)
    return False


def _is_refusal(world: World, failure: Any, token: str) -> bool:
    """True if the server said no and may say so; a connection that broke has no such words."""
    said = failure.details() or ""
    unauthenticated = failure.code() is grpc.StatusCode.UNAUTHENTICATED and token != world.token
    refused = failure.code() in BUSY and not said.startswith(
        ("failed to connect", "Socket closed", "recvmsg")
    )
    if unauthenticated or refused:
        world.count(f"refused: {failure.code().name}")
        time.sleep(PAUSE_S)
        return True
    return False


ALL: tuple[Ask, ...] = (over_http, over_grpc, over_a_stream, over_shared_memory)
