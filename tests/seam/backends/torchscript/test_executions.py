"""Tests of how a module runs: its outputs, its failures, its forks and its end."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.backends.torchscript.modules import ROWS, Tensors, write, write_code
from tests.seam.conftest import Gates, Harness, RunInThread

ONES = np.ones((1, 4), np.float32)
DOUBLE = "input x FP32 -1 4\noutput y x 2"


def served(harness: Harness, path: Path, code: str, outputs: Tensors | None = None, **options: object) -> int:
    """Load a module whose forward has this body."""
    results = "Tensor" if outputs is None or len(outputs) == 1 else ""
    results = results or f"Tuple[{', '.join(['Tensor'] * len(outputs or {}))}]"
    text = f"def forward(self, x: Tensor) -> {results}:\n    {code}\n"
    return harness.load_file(write_code(path, text, outputs=outputs), "torchscript", device="cpu", **options)


def failure(harness: Harness, engine: int, x: np.ndarray = ONES) -> tuple[str, str]:
    (completion,) = harness.wait(harness.submit(engine, x=x))
    assert completion.kind is not None
    return completion.kind, completion.message


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("return x.double()", "the module's output 'y' is FP64; it is described as FP32"),
        ("return x[:, :2]", "the module's output 'y' has shape [1, 2]; it is described as [?, 4]"),
        ("return x.sum()", "the module's output 'y' has shape []; it is described as [?, 4]"),
        ("return x.to_sparse()", "the module's output 'y' is not a dense tensor"),
    ],
)
def test_an_output_that_is_not_as_described_is_a_failure_that_names_it(
    harness: Harness, tmp_path: Path, code: str, why: str
) -> None:
    kind, message = failure(harness, served(harness, tmp_path / "m.pt", code))
    assert kind == "ExecutionFailed"
    assert why in message


def test_a_list_of_another_length_than_described_is_a_failure(harness: Harness, tmp_path: Path) -> None:
    code = "def forward(self, x: Tensor) -> List[Tensor]:\n    return [x, x, x]\n"
    path = write_code(tmp_path / "m.pt", code, outputs={"y": ROWS, "z": ROWS})
    engine = harness.load_file(path, "torchscript", device="cpu")
    kind, message = failure(harness, engine)
    assert (kind, "returned 3 tensors; 2 are described" in message) == ("ExecutionFailed", True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return x, x", ([[0, 1], [2, 3]], [[0, 1], [2, 3]])),
        ("return x.t(), x[:, :1]", ([[0, 2], [1, 3]], [[0], [2]])),
        ("y = x + 1\n    return y, y[0:1]", ([[1, 2], [3, 4]], [[1, 2]])),
        ("return (x + 1).t(), (x + 1)[:, :1]", ([[1, 3], [2, 4]], [[1], [3]])),
        ("return x[0:1], x[1:2]", ([[0, 1]], [[2, 3]])),
    ],
)
def test_outputs_may_be_views_of_an_input_or_of_one_another(
    harness: Harness, tmp_path: Path, code: str, expected: tuple[list[list[int]], ...]
) -> None:
    any_shape = ("FP32", [-1, -1])
    text = f"def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:\n    {code}\n"
    path = write_code(
        tmp_path / "m.pt", text, inputs={"x": any_shape}, outputs={"y": any_shape, "z": any_shape}
    )
    engine = harness.load_file(path, "torchscript", device="cpu")
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    results = harness.infer(engine, x=x)
    assert (results["y"].tolist(), results["z"].tolist()) == expected


@pytest.mark.parametrize(
    "code", ["return x, x", "return x[0:1], x[1:2]", "y = x + 1\n    return y, y[0:1]", "return x + 1, x"]
)
def test_outputs_share_no_memory_with_the_input_or_with_one_another(
    harness: Harness, tmp_path: Path, code: str
) -> None:
    engine = served(harness, tmp_path / "m.pt", code, {"y": ROWS, "z": ROWS})
    x = torch.arange(8.0).reshape(2, 4)
    with torch.inference_mode():
        y, z = runtime_ext.module(harness.runtime, engine)(x)
        kept = z.clone()
        y.fill_(-1)
        assert torch.equal(z, kept)
        z.fill_(-1)
    assert x.flatten().tolist() == list(range(8))


def test_an_output_that_torch_negates_lazily_is_negated(harness: Harness, tmp_path: Path) -> None:
    code = "def forward(self, x: Tensor) -> Tensor:\n    return torch.view_as_complex(x + 0).conj().imag\n"
    path = write_code(tmp_path / "m.pt", code, inputs={"x": ("FP32", [1, 2])}, outputs={"y": ("FP32", [1])})
    engine = harness.load_file(path, "torchscript", device="cpu")
    assert harness.infer(engine, x=np.array([[3, 5]], np.float32))["y"].tolist() == [-5]


def test_an_output_that_is_a_constant_does_not_expose_it(harness: Harness, tmp_path: Path) -> None:
    class Constant(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rows", torch.ones(1, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rows

    engine = harness.load_file(write(tmp_path / "m.pt", Constant()), "torchscript", device="cpu")
    module = runtime_ext.module(harness.runtime, engine)
    with torch.inference_mode():
        module(torch.ones(1, 4)).zero_()
    assert module(torch.ones(1, 4)).sum() == 4


def test_a_module_that_writes_to_its_input_does_not_change_the_callers(
    harness: Harness, tmp_path: Path
) -> None:
    engine = served(harness, tmp_path / "m.pt", "return x.add_(1)")
    x = ONES.copy()
    assert harness.infer(engine, x=x)["y"].tolist() == [[2.0] * 4]
    assert x.tolist() == ONES.tolist()


SEVEN = "seven = float((x + 7).mean())"  # its memory is free again when a tensor without values is made
SEVENS = np.full((64, 4), 7, np.float32)


@pytest.mark.parametrize(
    "empty",
    [
        "torch.empty(x.shape)",
        "torch.empty_like(x)",
        "torch.empty_strided(x.shape, [4, 1])",
        "torch.empty_permuted(x.shape, [0, 1])",
        "x.new_empty(x.shape)",
        "x.new_empty_strided(x.shape, [4, 1])",
    ],
)
def test_a_tensor_without_values_has_zeros(harness: Harness, tmp_path: Path, empty: str) -> None:
    engine = served(harness, tmp_path / "m.pt", f"{SEVEN}\n    return {empty} + 0 * seven")
    y = harness.infer(engine, x=SEVENS)["y"]
    assert (y.min(), y.max()) == (0, 0)


def empty_like(x: torch.Tensor) -> torch.Tensor:
    seven = float((x + 7).mean())
    return torch.empty_like(x) + 0 * seven


class ForksEmpty(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(empty_like, x))


class EmptyInALoop(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(x.size(1)):
            x = empty_like(x) if bool(x.sum() >= 0) else x
        return x


@pytest.mark.parametrize("kind", [ForksEmpty, EmptyInALoop])
def test_a_tensor_without_values_has_zeros_wherever_it_is_made(
    harness: Harness, tmp_path: Path, kind: type[torch.nn.Module]
) -> None:
    engine = harness.load_file(write(tmp_path / "m.pt", kind()), "torchscript", device="cpu")
    y = harness.infer(engine, x=SEVENS)["y"]
    assert (y.min(), y.max()) == (0, 0)


def test_memory_that_there_is_not_is_an_unavailable_module(harness: Harness, tmp_path: Path) -> None:
    engine = served(harness, tmp_path / "m.pt", "return x.new_zeros([1 << 52])")
    kind, message = failure(harness, engine)
    assert kind == "Unavailable"
    assert "the module needs more memory than is available" in message


def test_a_failure_in_torch_is_told_in_one_line(harness: Harness, tmp_path: Path) -> None:
    engine = served(harness, tmp_path / "m.pt", "return x + torch.ones(3)")
    kind, message = failure(harness, engine)
    assert kind == "ExecutionFailed"
    assert "The size of tensor a (4) must match the size of tensor b (3)" in message
    assert "Traceback" not in message
    assert "\n" not in message


def test_what_a_module_raises_is_the_reason(harness: Harness, tmp_path: Path) -> None:
    engine = served(harness, tmp_path / "m.pt", "assert bool(x.sum() > 9), 'too little'\n    return x")
    kind, message = failure(harness, engine)
    assert (kind, "too little" in message) == ("ExecutionFailed", True)
    assert harness.infer(engine, x=ONES * 9)["y"].tolist() == [[9.0] * 4]


class Inner(torch.nn.Module):
    def __init__(self, engine: int, columns: int) -> None:
        super().__init__()
        self.engine = engine
        self.columns = columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(self.engine, [x[:, : self.columns]])[0]


def call(engine: int, x: torch.Tensor) -> torch.Tensor:
    return torch.ops.trt.execute_engine_list(engine, [x])[0]


class Forked(Inner):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = torch.jit.fork(call, self.engine, x[:, : self.columns])
        second = torch.jit.fork(call, self.engine, x[:, : self.columns] + 1)
        return torch.jit.wait(first) + torch.jit.wait(second)


@pytest.mark.parametrize("kind", [Inner, Forked])
def test_the_error_of_an_inner_engine_keeps_its_kind_and_sentence(
    harness: Harness, tmp_path: Path, kind: type[Inner]
) -> None:
    inner = harness.load_toy(DOUBLE)
    engine = harness.load_file(write(tmp_path / "m.pt", kind(inner, 3)), "torchscript", device="cpu")
    told, message = failure(harness, engine)
    assert told == "InvalidInput"
    assert message == "input 'x' has shape [1, 3]; the engine takes [?, 4]"


def test_forks_run_at_the_same_time(
    harness: Harness, gates: Gates, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    inner = harness.load_toy(f"{DOUBLE}\ngate {gate}", instances=2)
    engine = harness.load_file(write(tmp_path / "m.pt", Forked(inner, 4)), "torchscript", device="cpu")
    assert harness.runtime.engine(engine).uses == [inner]
    running = run_in_thread(harness.infer, engine, x=ONES)
    gates.wait_for(gate, 2)
    gates.open(gate)
    result = running.result()
    assert isinstance(result, dict)
    assert result["y"].tolist() == [[6.0] * 4]


def test_modules_that_fork_may_call_modules_that_fork(
    harness: Harness, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    inner = harness.load_toy(DOUBLE)
    for _ in range(3):
        inner = harness.load_file(write(tmp_path / "m.pt", Forked(inner, 4)), "torchscript", device="cpu")
    module = runtime_ext.module(harness.runtime, inner)
    single = module(torch.ones(1, 4))
    assert single.tolist() == [[40.0] * 4]
    futures = [run_in_thread(lambda: [module(torch.ones(1, 4)) for _ in range(5)]) for _ in range(8)]
    for future in futures:
        assert all(torch.equal(y, single) for y in future.result())


def plus_engine(engine: int, x: torch.Tensor) -> torch.Tensor:
    return x + torch.jit.wait(torch.jit.fork(call, engine, x))


class ForksForks(Inner):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = torch.jit.fork(plus_engine, self.engine, x)
        for _ in range(x.size(0)):
            x = torch.jit.wait(torch.jit.fork(plus_engine, self.engine, x))
        return torch.jit.wait(first) + x


def test_a_fork_may_fork(harness: Harness, tmp_path: Path) -> None:
    inner = harness.load_toy(DOUBLE)
    engine = harness.load_file(write(tmp_path / "m.pt", ForksForks(inner, 4)), "torchscript", device="cpu")
    assert harness.runtime.engine(engine).uses == [inner]
    for _ in range(3):
        assert harness.infer(engine, x=ONES)["y"].tolist() == [[6.0] * 4]


def test_a_loop_that_nobody_waits_for_ends(harness: Harness, tmp_path: Path) -> None:
    code = "while bool(x.sum() > 0):\n        x = x + 1\n    return x"
    engine = served(harness, tmp_path / "m.pt", code)
    (completion,) = harness.wait(harness.submit(engine, timeout_ns=100_000_000, x=ONES))
    assert completion.kind == "DeadlineExceeded"
    assert harness.infer(engine, x=-ONES)["y"].tolist() == [[-1.0] * 4]


class Warns(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            warnings.warn("it is positive", stacklevel=1)
        return x + 1


def test_the_warnings_of_a_module_are_in_no_log(
    harness: Harness, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = harness.load_file(write(tmp_path / "m.pt", Warns()), "torchscript", device="cpu")
    capfd.readouterr()
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[2.0] * 4]
    assert "positive" not in "".join(capfd.readouterr())


def test_gradients_are_off_and_warnings_are_dropped(harness: Harness, tmp_path: Path) -> None:
    class Quiet(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return torch.nn.functional.interpolate(x[None], scale_factor=1.0)[0]

    engine = harness.load_file(write(tmp_path / "m.pt", Quiet()), "torchscript", device="cpu")
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[1.0] * 4]


def test_a_traced_module_is_served(harness: Harness, tmp_path: Path) -> None:
    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(
                torch.nn.Conv1d(1, 1, 3, padding=1), torch.nn.BatchNorm1d(1), torch.nn.ReLU()
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x[:, None])[:, 0]

    module = Traced().eval()
    traced = torch.jit.trace(module, (torch.ones(1, 4),))
    engine = harness.load_file(write(tmp_path / "m.pt", traced), "torchscript", device="cpu")
    x = torch.randn(3, 4)
    np.testing.assert_allclose(harness.infer(engine, x=x.numpy())["y"], module(x).detach().numpy(), atol=1e-6)


def test_a_frozen_module_is_served(harness: Harness, tmp_path: Path) -> None:
    frozen = torch.jit.freeze(torch.jit.script(torch.nn.Linear(4, 4).eval()))
    path = write(tmp_path / "m.pt", frozen, inputs={"input": ROWS})
    engine = harness.load_file(path, "torchscript", device="cpu")
    assert harness.infer(engine, input=ONES)["y"].shape == (1, 4)


class CallsWithOnes(torch.nn.Module):
    def __init__(self, engine: int) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ops.trt.execute_engine_list(self.engine, [torch.ones(1, 4)])[0]


def test_a_call_of_an_engine_with_constant_inputs_runs_at_each_request_and_not_at_the_load(
    harness: Harness, gates: Gates, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    """Freezing computes what depends on constants only; an engine must not run in an inspection or a load."""
    gate = gates.new()
    engine = harness.load_toy(f"{DOUBLE}\ngate {gate}")
    path = write(tmp_path / "m.pt", CallsWithOnes(engine))
    harness.runtime.inspect_module(str(path))
    module = run_in_thread(harness.load_file, path, "torchscript", device="cpu").result(60)  # not held up
    assert isinstance(module, int)
    tickets = [harness.submit(module, x=ONES) for _ in range(2)]
    gates.wait_for(gate, 1)
    gates.open(gate)
    for completion in harness.wait(*tickets):
        assert completion.kind is None, completion.message
        assert np.frombuffer(completion.outputs[0], np.float32).tolist() == [3, 3, 3, 3]
