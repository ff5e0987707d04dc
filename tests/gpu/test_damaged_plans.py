"""A test that real plans with flipped bytes end neither the server nor its other engines."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gpu.damage import damaged
from tests.gpu.effort import DAMAGED_PLANS
from tests.gpu.models import named
from tests.gpu.real import RealTensorRt
from tests.gpu.served import ask, serving, upload

pytestmark = pytest.mark.gpu
CLIENTS = 4
DAMAGED = ("mlp_f32", "cnn_f16", "nonzero", "reshape", "double_int32")


def test_the_server_answers_every_damaged_plan_and_lives(real: RealTensorRt, tmp_path: Path) -> None:
    """A damaged plan that still loads is served, but asked nothing: wrong machine code can break the device
    for every process that shares it."""
    model = named("mlp_2_profiles_f32")
    plans = [real.plan(named(name)).read_bytes() for name in DAMAGED]
    good = real.plan(model)
    real.runtime.close()  # this process gives its memory back
    endings: Counter[int] = Counter()
    with serving(tmp_path) as server:
        process = server.process.pid
        engine = upload(server, good, "good")

        def send(plan: bytes) -> int:
            answer = server.client.post("/engines", content=plan)
            said = answer.json()
            if answer.status_code in {200, 201}:
                server.client.delete(f"/engines/{said['id']}").raise_for_status()
            else:
                assert 400 <= answer.status_code < 600
                assert said["error"], said
            return answer.status_code

        with ThreadPoolExecutor(CLIENTS) as pool:
            endings.update(pool.map(send, damaged(plans, DAMAGED_PLANS, seed=1)))
        print(f"\n{DAMAGED_PLANS} damaged plans by status: {dict(endings)}")
        assert server.process.poll() is None
        assert server.process.pid == process
        for case in model.cases:
            model.agrees(ask(server, engine, case), case)
        assert server.client.get("/health/ready").status_code == 200
        refused = endings.total() - endings[200] - endings[201]
        assert refused > 0
