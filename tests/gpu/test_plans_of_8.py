"""Tests that run real plans of TensorRT 8.5.3 (tests/gpu/plans) and compare them with PyTorch.

They need a GPU of compute capability 9.0, and the library of TensorRT 8.5.3 or a later 8.5.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from runtime_ext.backends import built_backends
from tests.gpu.conftest import cannot_run, harness_with
from tests.gpu.damage import damaged
from tests.gpu.effort import DAMAGED_PLANS
from tests.gpu.trials import TrialHost
from tests.seam.conftest import Harness

pytestmark = pytest.mark.gpu
PLANS = Path(__file__).parent / "plans"
BACKEND = "tensorrt8"


@pytest.fixture
def trt8(tmp_path: Path) -> Iterator[Harness]:
    if BACKEND not in built_backends():
        cannot_run("the backend was not built for TensorRT 8: it needs its headers in TENSORRT_INCLUDE_DIR")
    if torch.cuda.get_device_capability() != (9, 0):
        cannot_run("the plans are for compute capability 9.0")
    with harness_with(BACKEND, tmp_path) as made:
        yield made


def load(trt8: Harness, name: str, **options: object) -> int:
    return trt8.load_file(PLANS / f"{name}.plan", BACKEND, **options)


def mlp(x: torch.Tensor) -> torch.Tensor:
    rng = np.random.default_rng(0)
    w1, w2 = (
        torch.from_numpy(rng.standard_normal(shape).astype(np.float32) * np.float32(0.2)).cuda()
        for shape in ((32, 48), (48, 7))
    )
    return torch.relu(x @ w1) @ w2


def check_mlp(y: torch.Tensor, x: torch.Tensor) -> None:
    assert torch.allclose(y, mlp(x), rtol=1e-2, atol=2e-2)  # TF32


def test_the_version_is_reported_as_people_write_it(trt8: Harness) -> None:
    assert trt8.runtime.backend_version(BACKEND).startswith("8.5.3")


@pytest.mark.parametrize("instances", [1, 2])
@pytest.mark.parametrize("graphs", ["off", "auto", "on"])
def test_a_plan_answers_for_every_batch(trt8: Harness, graphs: str, instances: int) -> None:
    engine = load(trt8, "double", cuda_graphs=graphs, instances=instances)
    module = runtime_ext.module(trt8.runtime, engine)
    for n in (1, 64, 7, 7, 7, 7, 1, 64, 7, 1, 1, 1, 1, 64, 64):
        x = torch.randn(n, 16, device="cuda")
        assert torch.equal(module(x), 2 * x)


@pytest.mark.parametrize("name", ["mlp", "mlp2"])
@pytest.mark.parametrize("graphs", ["off", "on"])
def test_every_shape_of_every_profile_agrees_with_pytorch(trt8: Harness, name: str, graphs: str) -> None:
    module = runtime_ext.module(trt8.runtime, load(trt8, name, cuda_graphs=graphs, instances=2))
    for n in (1, 3, 4, 5, 64, 1, 1, 1, 4, 4, 4, 64, 64, 64, 3, 3):
        x = torch.randn(n, 32, device="cuda")
        check_mlp(module(x), x)


@pytest.mark.sanitizer
def test_captured_graphs_are_replayed(trt8: Harness) -> None:
    engine = load(trt8, "mlp", cuda_graphs="on", instances=1)
    module = runtime_ext.module(trt8.runtime, engine)
    for n in (8,) * 6 + (4,) * 6 + (8,) * 6:
        x = torch.randn(n, 32, device="cuda")
        check_mlp(module(x), x)
    counters = trt8.stats(engine).counters
    assert counters["cuda_graph_captures"] == 2
    assert counters["cuda_graph_replays"] == 5 + 5 + 5
    assert counters["cuda_graphs_disabled"] == 0


def test_a_shape_beyond_every_profile_is_refused(trt8: Harness) -> None:
    engine = load(trt8, "mlp2")
    with pytest.raises(runtime_ext.Error, match=r"input 'x' has shape \[65, 32\]; the engine takes from"):
        trt8.submit(engine, x=np.zeros((65, 32), np.float32))


def test_whole_numbers_and_two_outputs(trt8: Harness) -> None:
    engine = load(trt8, "addsub")
    a, b = (np.random.default_rng(seed).integers(-1000, 1000, (5, 16)).astype(np.int32) for seed in (1, 2))
    answer = trt8.infer(engine, INPUT0=a, INPUT1=b)
    assert np.array_equal(answer["OUTPUT0"], a + b)
    assert np.array_equal(answer["OUTPUT1"], a - b)


def test_an_output_whose_shape_depends_on_the_data(trt8: Harness) -> None:
    engine = load(trt8, "nonzero")
    rng = np.random.default_rng(3)
    for n, m in ((1, 1), (16, 64), (3, 5), (16, 64), (2, 2)):
        x = (rng.random((n, m)) < 0.3).astype(np.float32)
        assert np.array_equal(trt8.infer(engine, x=x)["i"], np.array(np.nonzero(x)))
    assert trt8.infer(engine, x=np.zeros((4, 4), np.float32))["i"].shape == (2, 0)


def test_a_shape_that_is_read_on_the_host(trt8: Harness) -> None:
    engine = load(trt8, "reshape")
    x = np.arange(24, dtype=np.float32).reshape(2, 12)
    for shape in ((4, 6), (24, 1), (2, 12), (3, 8)):
        assert np.array_equal(trt8.infer(engine, x=x, s=np.array(shape, np.int32))["y"], x.reshape(shape))


def test_requests_are_joined_into_batches(trt8: Harness) -> None:
    engine = load(trt8, "double", batch=runtime_ext.BatchOptions(max_batch_size=64))
    tickets = []
    inputs = [np.full((1 + i % 3, 16), i, np.float32) for i in range(200)]
    for x in inputs:
        tickets.append(trt8.submit(engine, INPUT0=x))
    for x, completion in zip(inputs, trt8.wait(*tickets), strict=True):
        assert completion.kind is None, completion.message
        assert np.array_equal(np.frombuffer(completion.outputs[0], np.float32).reshape(x.shape), 2 * x)
    assert sum(batch.compute_infer.count for batch in trt8.stats(engine).batches) < 200


def test_eight_threads_on_two_instances_get_their_own_answers(trt8: Harness) -> None:
    module = runtime_ext.module(trt8.runtime, load(trt8, "mlp", instances=2, cuda_graphs="auto"))

    def ask(seed: int) -> None:
        stream = torch.cuda.Stream()
        generator = torch.Generator("cuda").manual_seed(seed)
        with torch.cuda.stream(stream):
            for i in range(300):
                x = torch.randn(1 + (seed + i) % 8, 32, device="cuda", generator=generator)
                check_mlp(module(x), x)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, seed) for seed in range(8)]:
            done.result()


def test_many_loads_leave_no_memory_behind(trt8: Harness) -> None:
    def cycle() -> None:
        engine = load(trt8, "mlp2", instances=2)
        trt8.infer(engine, x=np.zeros((3, 32), np.float32))
        trt8.runtime.unload(engine, 10.0)

    for _ in range(5):
        cycle()
    before = torch.cuda.mem_get_info()[0], torch.cuda.memory_allocated()
    for _ in range(50):
        cycle()
    after = torch.cuda.mem_get_info()[0], torch.cuda.memory_allocated()
    print("free and allocated, before and after 50 loads:", before, after)
    assert after[1] == before[1]
    assert before[0] - after[0] <= 4 << 20


def test_a_damaged_plan_is_refused_or_loads_or_ends_its_own_process_alone(
    trt8: Harness, tmp_path: Path
) -> None:
    """Some damaged plans end the process, which is why a trial load has its own."""
    plans = [(PLANS / f"{name}.plan").read_bytes() for name in ("double", "mlp", "nonzero", "reshape")]
    with TrialHost() as host, ThreadPoolExecutor(8) as pool:

        def end_of(numbered: tuple[int, bytes]) -> str:
            number, plan = numbered
            file = tmp_path / f"damaged{number}.plan"
            file.write_bytes(plan)
            return host.load(file, BACKEND)

        endings = Counter(pool.map(end_of, enumerate(damaged(plans, DAMAGED_PLANS, seed=4))))
        print(f"\n{DAMAGED_PLANS} damaged plans: {dict(endings)}")
        # Unavailable: a damaged plan may ask for more memory than there is.
        refusals = {"InvalidInput", "Unsupported", "ExecutionFailed", "Unavailable"}
        assert all(ending in refusals | {"loaded"} or ending.startswith("SIG") for ending in endings)
        assert host.load(PLANS / "double.plan", BACKEND) == "loaded"
