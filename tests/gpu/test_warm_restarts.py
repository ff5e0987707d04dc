"""A warm restart with a real plan: a new process loads it while the old one answers from the same GPU."""

import os
import signal
from pathlib import Path

import pytest
import torch

from tests.gpu.asking import asking
from tests.gpu.models import named
from tests.gpu.real import RealTensorRt
from tests.gpu.served import serving, upload

pytestmark = pytest.mark.gpu


def test_no_request_is_lost_and_the_memory_comes_back(real: RealTensorRt, tmp_path: Path) -> None:
    model = named("mlp_f32")
    with serving(tmp_path, "--restart-timeout-s", "60") as server:
        engine = upload(server, real.plan(model), "net", instances=2, cuda_graphs="on")
        first = server.process.pid
        try:
            with asking(server, engine, model) as clients:
                clients.go_on()
                alone, _ = torch.cuda.mem_get_info()
                server.process.send_signal(signal.SIGUSR2)
                assert server.process.wait(120) == 0, server.log
                clients.go_on()
            after, _ = torch.cuda.mem_get_info()
            print(f"{clients.answers} answers; free with the first process {alone}, with the second {after}")
            assert "Traceback" not in server.log
        finally:
            second = int((server.store / "LOCK").read_text())
            if second != first:
                os.kill(second, signal.SIGTERM)
