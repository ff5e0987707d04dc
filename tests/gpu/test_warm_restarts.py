"""A warm restart with a real plan: a new process loads it while the old one answers from the same GPU."""

import os
import signal
import threading
from pathlib import Path

import pytest
import torch

from tests.gpu.models import Model, named
from tests.gpu.real import RealTensorRt
from tests.gpu.served import ask, serving, upload
from tests.waiting import wait_until

pytestmark = pytest.mark.gpu
CLIENTS = 4
EACH = 100  # answers of each client, before and after


class Client(threading.Thread):
    """Asks all the time, and keeps what went wrong."""

    def __init__(self, server: object, engine: dict[str, object], model: Model) -> None:
        super().__init__()
        self._asked = server, engine, model
        self._over = threading.Event()
        self.answers = 0
        self.wrong: list[BaseException] = []

    def run(self) -> None:
        server, engine, model = self._asked
        while not self._over.is_set():
            case = model.cases[self.answers % len(model.cases)]
            try:
                model.agrees(ask(server, engine, case), case)  # type: ignore[arg-type]
            except Exception as failure:
                self.wrong.append(failure)
                return
            self.answers += 1

    def go_on(self) -> None:
        before = self.answers
        wait_until(lambda: self.answers >= before + EACH or bool(self.wrong), "answers")

    def end(self) -> None:
        self._over.set()
        self.join()


def test_no_request_is_lost_and_the_memory_comes_back(real: RealTensorRt, tmp_path: Path) -> None:
    model = named("mlp_f32")
    with serving(tmp_path, "--restart-timeout-s", "60") as server:
        engine = upload(server, real.plan(model), "net", instances=2, cuda_graphs="on")
        clients = [Client(server, engine, model) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.go_on()
        alone, _ = torch.cuda.mem_get_info()
        first = server.process.pid
        server.process.send_signal(signal.SIGUSR2)
        try:
            assert server.process.wait(120) == 0, server.log
            for client in clients:
                client.go_on()
            for client in clients:
                client.end()
            wrong = [failure for client in clients for failure in client.wrong]
            assert wrong == []
            after, _ = torch.cuda.mem_get_info()
            print(
                f"{sum(client.answers for client in clients)} answers; free with the first process {alone}, "
                f"with the second {after}"
            )
            assert "Traceback" not in server.log
        finally:
            second = int((server.store / "LOCK").read_text())
            if second != first:
                os.kill(second, signal.SIGTERM)
