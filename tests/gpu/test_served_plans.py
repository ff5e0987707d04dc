"""Tests of real plans behind HTTP: every answer is compared with PyTorch's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from tests.gpu.models import Model, named
from tests.gpu.real import RealTensorRt, for_each
from tests.gpu.served import ask, serving, upload

if TYPE_CHECKING:
    from tests.e2e.server import Server

pytestmark = pytest.mark.gpu
SERVED = (
    "double_float16",
    "double_bfloat16",
    "double_int64",
    "booleans",
    "uint8",
    "int8",
    "scalars",
    "empty",
    "rank_4",
    "several",
    "profiles_3",
    "reshape",
    "nonzero",
    "nms",
    "mlp_int8",
    "cnn_f16",
    "lstm",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@for_each(tuple(named(name) for name in SERVED))
def test_an_uploaded_plan_answers_as_pytorch_does(server: "Server", real: RealTensorRt, model: Model) -> None:
    """Two instances, with graphs: each case comes until its graph is replayed."""
    engine = upload(server, real.plan(model), model.name, instances=2, cuda_graphs="on")
    for case in (*model.cases, *model.cases, *model.cases):
        model.agrees(ask(server, engine, case), case)
    server.client.delete(f"/engines/{engine['id']}").raise_for_status()


@pytest.mark.parametrize("graphs", ["off", "auto"])
def test_clients_that_ask_at_once_share_batches(server: "Server", real: RealTensorRt, graphs: str) -> None:
    model = named("mlp_f16")
    engine = upload(
        server,
        real.plan(model),
        model.name,
        instances=2,
        cuda_graphs=graphs,
        max_batch_size=16,
        max_queue_delay_us=1000,
    )

    def client(seed: int) -> None:
        for i in range(50):
            case = model.cases[(seed + i) % len(model.cases)]
            model.agrees(ask(server, engine, case), case)

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(client, seed) for seed in range(16)]:
            done.result()
    server.client.delete(f"/engines/{engine['id']}").raise_for_status()


def test_a_shape_outside_the_profile_is_a_400(server: "Server", real: RealTensorRt) -> None:
    engine = upload(server, real.plan(named("double_float32")), "double")
    body = {"inputs": [{"name": "x", "shape": [9, 6], "datatype": "FP32", "data": [0.0] * 54}]}
    answer = server.client.post(f"/engines/{engine['id']}/infer", json=body)
    assert answer.status_code == 400
    assert "Input 'x' has shape [9, 6]" in answer.json()["error"]
    server.client.delete(f"/engines/{engine['id']}").raise_for_status()


def test_a_stored_plan_is_served_again_after_a_restart(server: "Server", real: RealTensorRt) -> None:
    model = named("mlp_f32")
    engine = upload(server, real.plan(model), model.name)
    assert server.stop() == 0
    server.start()
    server.wait_until_ready()
    case = model.cases[1]
    model.agrees(ask(server, engine, case), case)
    zeros = {"x": torch.zeros(1, 32)}
    model.agrees(ask(server, engine, zeros), zeros)
    server.client.delete(f"/engines/{engine['id']}").raise_for_status()
