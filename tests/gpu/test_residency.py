"""Real plans that are warmed up, counted in bytes, and evicted from a GPU; `-s` shows measurements."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.gpu.effort import ROTATED
from tests.gpu.memory import DEVICE_GROWTH_BYTES
from tests.gpu.models import Model, Values, named
from tests.gpu.models.model import TF32, node, onnx_model, random, value_info
from tests.gpu.real import RealTensorRt
from tests.gpu.served import ask, serving, upload

if TYPE_CHECKING:
    from tests.e2e.server import Server

pytestmark = pytest.mark.gpu
SIDE = 2048
WEIGHTS_BYTES = 4 * SIDE * SIDE
LONG_S = 120.0
FIT = ROTATED // 3


def wide(number: int) -> Model:
    """y = x w, with 16 MiB of weights of its own."""
    w = random(SIDE, SIDE, seed=number) / SIDE**0.5
    model = onnx_model(
        f"wide{number}",
        [node("MatMul", ["x", "w"], ["y"])],
        [value_info("x", torch.float32, ["n", SIDE])],
        [value_info("y", torch.float32, ["n", SIDE])],
        {"w": w.numpy()},
    )

    def expected(values: Values) -> Values:
        return {"y": values["x"] @ w}

    cases = tuple({"x": random(n, SIDE, seed=n)} for n in (1, 4, 3))
    profile = {"x": ((1, SIDE), (4, SIDE), (8, SIDE))}
    return Model(f"wide{number}", model, cases, expected, (profile,), "f32", tolerance=TF32, batched=True)


def captures(real: RealTensorRt, engine: int) -> int:
    found = {stats.id: stats for stats in real.runtime.stats()}[engine].counters["cuda_graph_captures"]
    return int(found)


@pytest.mark.parametrize("instances", [1, 2])
def test_a_warm_engine_captures_nothing_more(real: RealTensorRt, instances: int) -> None:
    """Each instance has captured a graph for each of the shapes before the first request."""
    model = named("mlp_f32")
    engine = real.load_model(model, instances=instances, cuda_graphs="auto")
    sizes = sorted({len(case["x"]) for case in model.cases})
    executions = [[([size, *model.cases[0]["x"].shape[1:]], [])] for size in sizes]
    assert real.runtime.warm_up(engine, executions, LONG_S) == instances * len(sizes)
    warm = captures(real, engine)
    assert warm == instances * len(sizes)
    for case in (*model.cases, *model.cases):
        for use in (real.eager, real.scripted, real.queued):
            model.agrees(use(engine, case), case)
    assert captures(real, engine) == warm


def test_the_bytes_of_weights_contexts_and_graphs_are_counted(real: RealTensorRt) -> None:
    model = wide(0)
    engine = real.load_model(model, instances=1, cuda_graphs="on")
    before = real.runtime.memory(engine)["cuda:0"]
    for case in (*model.cases, *model.cases, *model.cases):
        model.agrees(real.queued(engine, case), case)
    after = real.runtime.memory(engine)["cuda:0"]
    print(f"\n16 MiB of weights: {before} -> {after}")
    assert WEIGHTS_BYTES <= before["weights"] < 2 * WEIGHTS_BYTES
    assert before["graphs"] == 0
    assert after["graphs"] > 0
    assert after["weights"] == before["weights"]


def test_an_unload_returns_when_the_gpus_memory_is_back(real: RealTensorRt) -> None:
    """The first load opens libraries, whose memory stays."""
    model = wide(0)
    free = []
    for _ in range(3):
        engine = real.load_model(model, instances=1)
        model.agrees(real.queued(engine, model.cases[0]), model.cases[0])
        loaded, _total = torch.cuda.mem_get_info()
        real.runtime.unload(engine, LONG_S)
        free.append(torch.cuda.mem_get_info()[0])
        assert free[-1] - loaded >= WEIGHTS_BYTES
    print(f"\nfree after each unload: {free}")
    assert abs(free[2] - free[1]) <= DEVICE_GROWTH_BYTES


def test_all_means_each_gpu_of_the_machine(real: RealTensorRt) -> None:
    engine = real.load_model(named("mlp_f32"), device="all", instances=1)
    assert real.runtime.engine(engine).devices == [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    for case in named("mlp_f32").cases:
        named("mlp_f32").agrees(real.queued(engine, case), case)


def metric(server: "Server", name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", server.client.get("/metrics").text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def test_engines_rotate_over_a_budget_that_holds_a_third_of_them(real: RealTensorRt, tmp_path: Path) -> None:
    """Every answer is right, and what is resident never exceeds the budget."""
    models = [wide(number) for number in range(ROTATED)]
    plans = [real.plan(model) for model in models]
    with serving(tmp_path, "--trial-load", "off") as server:
        first = upload(server, plans[0], "wide0", instances=1)
        (device,) = first["memory"].keys() - {"cpu"}
        taken = sum(first["memory"][device].values())
        assert WEIGHTS_BYTES <= taken < 8 * WEIGHTS_BYTES
        server.stop()
        budget = int((FIT + 0.5) * taken)
        server.variables["TRTSERVE_MEMORY_BUDGET"] = f"{device}={budget}"
        server.start()
        server.wait_until_ready()
        engines = [upload(server, plan, f"wide{i}", instances=1) for i, plan in enumerate(plans)]
        order = np.random.default_rng(1).permutation(np.repeat(np.arange(ROTATED), 3))
        most = 0.0
        for number in map(int, order):
            case = models[number].cases[number % 3]
            models[number].agrees(ask(server, engines[number], case), case)
            most = max(most, server.metric("trtserve_memory_resident_bytes", device=device))
            assert most <= budget
        loads, evictions = (metric(server, f"trtserve_residency_{n}_total") for n in ("loads", "evictions"))
        print(
            f"\n{ROTATED} engines of {taken} bytes over {budget}: {len(order)} right answers, "
            f"most {most:.0f} bytes, {loads:.0f} loads, {evictions:.0f} evictions"
        )
        assert evictions >= ROTATED
