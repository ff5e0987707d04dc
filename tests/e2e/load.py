"""Clients that ask the engine `net`, which doubles, all the time, and notice everything that goes wrong."""

import queue
import threading
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from tests.e2e.grpc_calls import only_output, raw
from tests.e2e.server import HANGS_AFTER_S, Server
from tests.waiting import wait_until

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
X = np.asarray([[1, 2, 3, 4]], np.float32)
EACH = 40  # answers of each client that a phase lasts for


class Client(threading.Thread):
    """Asks all the time, and keeps what went wrong."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__()
        self._ask = ask
        self._over = threading.Event()
        self.answers, self.wrong = 0, []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                given = self._ask()
            except Exception as failure:
                self.wrong.append(failure)
                return
            if given != [2, 4, 6, 8]:
                self.wrong.append(given)
            self.answers += 1

    def end(self) -> None:
        self._over.set()
        self.join(HANGS_AFTER_S)


class Load:
    """Clients over HTTP and gRPC, that keep their connections or open one for each request."""

    def __init__(
        self,
        server: Server,
        *more: Callable[[], object],
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """`more`: what further clients ask; each returns the answer's numbers. `credentials`: of gRPC over
        TLS; over HTTP, the server's `trust` holds."""
        self._url, self._address = str(server.client.base_url), server.grpc_address
        self._trust, self._credentials = server.trust, credentials
        self._kept = [self._client() for _ in range(3)]
        self._channel = self._open_channel()
        asks = [lambda client=client: self._over_http(client, "/engines/net/infer") for client in self._kept]
        asks += [
            self._over_new_http,
            self._over_new_http,
            self._over_grpc,
            self._over_grpc,
            self._over_new_grpc,
        ]
        asks += [lambda: self._over_http(self._kept[0], "/v2/models/net/infer")]
        self.clients = [Client(ask) for ask in (*asks, *more)]
        for client in self.clients:
            client.start()

    def _over_http(self, client: httpx.Client, path: str) -> object:
        answer = client.post(path, json=BODY)
        assert answer.status_code == 200, answer.text
        return answer.json()["outputs"][0]["data"]

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, timeout=HANGS_AFTER_S, verify=self._trust)

    def _open_channel(self) -> grpc.Channel:
        own = [("grpc.use_local_subchannel_pool", 1)]  # and no connection that another channel has
        if self._credentials is None:
            return grpc.insecure_channel(self._address, own)
        return grpc.secure_channel(self._address, self._credentials, own)

    def _over_new_http(self) -> object:
        with self._client() as client:
            return self._over_http(client, "/engines/net/infer")

    def _call(self, channel: grpc.Channel) -> object:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return only_output(stub.ModelInfer(raw("net", X), timeout=HANGS_AFTER_S))[0].tolist()

    def _over_grpc(self) -> object:
        return self._call(self._channel)

    def _over_new_grpc(self) -> object:
        with self._open_channel() as channel:
            return self._call(channel)

    def go_on(self) -> None:
        """Return once each client has had some more answers."""
        for client in self.clients:
            before = client.answers
            wait_until(
                lambda client=client, before=before: client.answers >= before + EACH or bool(client.wrong),
                "answers",
            )

    def end(self) -> None:
        for client in self.clients:
            client.end()
        for kept in self._kept:
            kept.close()
        self._channel.close()
        wrong = [f"client {n}: {w!r}" for n, client in enumerate(self.clients) for w in client.wrong]
        assert not wrong, wrong


class Stream:
    """A stream of gRPC, which is asked one request after the other."""

    def __init__(self, server: Server) -> None:
        self._channel = grpc.insecure_channel(server.grpc_address)
        self._requests: queue.Queue[Any] = queue.Queue()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._answers = stub.ModelStreamInfer(iter(self._requests.get, None))

    def __call__(self) -> object:
        self._requests.put(raw("net", X))
        answer = next(self._answers)
        assert not answer.error_message, answer.error_message
        return only_output(answer.infer_response)[0].tolist()

    def end(self) -> None:
        self._requests.put(None)
        assert list(self._answers) == []
        self._channel.close()
