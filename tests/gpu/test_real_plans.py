"""Tests of plans that the library itself builds from ONNX: every answer is compared with PyTorch's.

Each model is asked in every way: through its wrapper, from scripted code, and through the scheduler.
"""

import io

import pytest
import torch

import runtime_ext
from tests.gpu.models import ALL, Model, named
from tests.gpu.real import DEVICE, RealTensorRt, for_each
from tests.seam.conftest import RunInThread

pytestmark = pytest.mark.gpu
PLAIN = tuple(model for model in ALL if not model.needs_plugins)
WITH_PLUGINS = tuple(model for model in ALL if model.needs_plugins)
BATCHED = tuple(model for model in PLAIN if model.batched)
SMALL_SET = ("double_float32", "empty", "nonzero", "reshape", "profiles_2", "cnn_f16", "attention")
"""Models that compute-sanitizer sees: one of each way through the backend."""


def check_every_use(real: RealTensorRt, model: Model, engine: int) -> None:
    """Ask every case twice in each way: shapes change, and come again."""
    for case in (*model.cases, *model.cases):
        for use in (real.eager, real.scripted, real.queued):
            model.agrees(use(engine, case), case)


@pytest.mark.parametrize(("graphs", "instances"), [("off", 1), ("on", 2)])
@for_each(PLAIN)
def test_every_use_of_a_plan_agrees_with_pytorch(
    real: RealTensorRt, model: Model, graphs: str, instances: int
) -> None:
    engine = real.load_model(model, cuda_graphs=graphs, instances=instances)
    check_every_use(real, model, engine)


@pytest.mark.parametrize("graphs", ["off", "on"])
@for_each(WITH_PLUGINS)
def test_a_plan_with_a_plugin_agrees_with_pytorch(
    real_with_plugins: RealTensorRt, model: Model, graphs: str
) -> None:
    engine = real_with_plugins.load_model(model, cuda_graphs=graphs, instances=2)
    check_every_use(real_with_plugins, model, engine)


@pytest.mark.sanitizer
@for_each(tuple(named(name) for name in SMALL_SET))
def test_a_few_executions_of_each_kind_agree_with_pytorch(real: RealTensorRt, model: Model) -> None:
    engine = real.load_model(model, cuda_graphs="on", instances=2)
    for case in (*model.cases[:2], *model.cases[:2]):
        model.agrees(real.eager(engine, case), case)
        model.agrees(real.queued(engine, case), case)


@for_each(BATCHED)
def test_requests_that_are_joined_get_their_own_answers(real: RealTensorRt, model: Model) -> None:
    most = max(profile["x"][2][0] for profile in model.profiles)
    batch = runtime_ext.BatchOptions(max_batch_size=most)
    engine = real.load_model(model, batch=batch, cuda_graphs="on", instances=2)
    cases = model.cases * 20
    answers = real.answers(*(real.queue(engine, case) for case in cases))
    for case, answer in zip(cases, answers, strict=True):
        model.agrees(answer, case)


def test_requests_are_joined_into_batches(real: RealTensorRt) -> None:
    model = named("double_float32")
    engine = real.load_model(model, batch=runtime_ext.BatchOptions(max_batch_size=8), instances=1)
    case = model.cases[0]
    for answer in real.answers(*(real.queue(engine, case) for _ in range(200))):
        model.agrees(answer, case)
    assert real.stats(engine).execution_count < 200


def test_two_engines_run_in_one_scripted_function(real: RealTensorRt) -> None:
    first, second = real.load_model(named("double_float32")), real.load_model(named("rank_2"))

    class Both(torch.nn.Module):
        def forward(self, x: torch.Tensor, first: int, second: int) -> torch.Tensor:
            once = torch.ops.trt.execute_engine_list(first, [x])[0]
            return torch.ops.trt.execute_engine_list(second, [once])[0] - 1

    scripted = torch.jit.script(Both())
    x = torch.randn(4, 6, device=DEVICE)
    assert torch.equal(scripted(x, first, second).cpu(), (4 * x + 1 - 1).cpu())


def test_a_saved_module_runs_its_engine(real: RealTensorRt) -> None:
    engine = real.load_model(named("double_float32"))
    module = torch.jit.load(io.BytesIO(real.runtime.module_bytes(engine)))
    x = torch.randn(4, 6, device=DEVICE)
    assert torch.equal(module(x).cpu(), 2 * x.cpu())


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("double_float32", (9, 6), r"input 'x' has shape \[9, 6\]; the engine takes"),
        ("double_float32", (0, 6), r"input 'x' has shape \[0, 6\]; the engine takes"),
        ("double_float32", (4, 5), r"input 'x' has shape \[4, 5\]"),
        ("rank_3", (1, 7, 1), r"input 'x' has shape \[1, 7, 1\]; the engine takes"),
    ],
)
def test_a_shape_outside_the_profile_is_refused(
    real: RealTensorRt, name: str, shape: tuple[int, ...], expected: str
) -> None:
    engine = real.load_model(named(name))
    with pytest.raises(runtime_ext.Error, match=expected):
        real.queue(engine, {"x": torch.zeros(shape)})
    with pytest.raises(RuntimeError, match=expected):
        real.eager(engine, {"x": torch.zeros(shape)})


def test_inputs_that_no_one_profile_takes_together_are_refused(real: RealTensorRt) -> None:
    """Each input is within a profile, but not within the same one."""
    engine = real.load_model(named("profiles_3"))
    with pytest.raises(RuntimeError, match="no profile of the engine takes these inputs together"):
        real.eager(engine, {"x": torch.zeros(5, 4), "v": torch.zeros(20, 4)})


def test_values_outside_the_profile_are_refused(real: RealTensorRt) -> None:
    engine = real.load_model(named("range"))
    (completion,) = real.wait(real.queue(engine, {"limit": torch.tensor(31)}))
    assert completion.kind == "InvalidInput", completion.message
    model = named("range")
    model.agrees(real.queued(engine, model.cases[0]), model.cases[0])


def test_threads_share_a_plan_with_an_output_of_unknown_shape(
    real: RealTensorRt, run_in_thread: RunInThread
) -> None:
    model = named("nonzero")
    engine = real.load_model(model, instances=2)

    def ask() -> None:
        for case in model.cases * 10:
            model.agrees(real.eager(engine, case), case)

    for done in [run_in_thread(ask) for _ in range(8)]:
        done.result()
