"""Options of a real plan are changed while it serves: its next life is loaded on the same GPU beside it."""

from pathlib import Path

import pytest
import torch

from tests.gpu.asking import asking
from tests.gpu.models import named
from tests.gpu.real import RealTensorRt
from tests.gpu.served import ask, serving, upload

pytestmark = pytest.mark.gpu

CHANGES = [
    {"instances": 3},
    {"cuda_graphs": "off"},
    {"instances": 1, "cuda_graphs": "on", "max_queue_delay_us": 200},
    {"instances": 2, "max_queue_delay_us": 0},
]


def test_no_request_is_lost_or_wrong_and_the_memory_comes_back(real: RealTensorRt, tmp_path: Path) -> None:
    model = named("mlp_f32")
    with serving(tmp_path) as server:
        engine = upload(server, real.plan(model), "net", instances=2, cuda_graphs="on", max_batch_size=8)
        ref = f"/engines/{engine['id']}"
        with asking(server, engine, model) as clients:
            clients.go_on()
            free = []
            for _ in range(3):
                for change in CHANGES:
                    answer = server.client.patch(ref, json=change)
                    assert answer.status_code == 200, answer.text
                    assert change.items() <= server.client.get(ref).json().items()
                    clients.go_on()
                free.append(torch.cuda.mem_get_info()[0])
        print(f"{clients.answers} answers over {3 * len(CHANGES)} changes; free after each round: {free}")
        assert free[-1] >= free[0]
        success = server.metric("trtserve_requests_total", engine="net", outcome="Success")
        assert success == clients.answers
        assert "Traceback" not in server.log


def test_a_change_that_cannot_be_loaded_leaves_the_engine_as_it_was(
    real: RealTensorRt, tmp_path: Path
) -> None:
    model = named("mlp_f32")
    with serving(tmp_path) as server:
        engine = upload(server, real.plan(model), "net")
        ref = f"/engines/{engine['id']}"
        refused = server.client.patch(ref, json={"max_batch_size": 100_000})
        assert refused.status_code == 400, refused.text
        after = server.client.get(ref).json()
        assert (after["state"], after["max_batch_size"]) == ("READY", engine["max_batch_size"])
        model.agrees(ask(server, engine, model.cases[0]), model.cases[0])
