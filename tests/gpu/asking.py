"""Clients that ask a server all the time, and check each answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.gpu.models import Model
from tests.gpu.served import ask
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.server import Server

CLIENTS = 4
EACH = 100  # answers of each client while something goes on


class Client(threading.Thread):
    """Asks until it gets a wrong answer, or none, which it keeps, or until it is to end."""

    def __init__(self, server: "Server", engine: dict[str, Any], model: Model) -> None:
        super().__init__()
        self._server, self._engine, self._model = server, engine, model
        self._over = threading.Event()
        self.answers = 0
        self.wrong: list[BaseException] = []

    def run(self) -> None:
        while not self._over.is_set():
            case = self._model.cases[self.answers % len(self._model.cases)]
            try:
                self._model.agrees(ask(self._server, self._engine, case), case)
            except Exception as failure:
                self.wrong.append(failure)
                return
            self.answers += 1

    def end(self) -> None:
        self._over.set()
        self.join()


class Clients:
    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients

    def go_on(self) -> None:
        """Return once each has had some answers more. Raises what one of them found wrong."""
        for client in self._clients:
            before = client.answers
            wait_until(lambda c=client, n=before: c.answers >= n + EACH or bool(c.wrong), "answers")
            if client.wrong:
                raise client.wrong[0]

    @property
    def answers(self) -> int:
        return sum(client.answers for client in self._clients)


@contextmanager
def asking(server: "Server", engine: dict[str, Any], model: Model) -> Iterator[Clients]:
    """Ask an engine from several threads until the block ends; each answer is right."""
    clients = [Client(server, engine, model) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield Clients(clients)
    finally:
        for client in clients:
            client.end()
    for client in clients:
        if client.wrong:
            raise client.wrong[0]
