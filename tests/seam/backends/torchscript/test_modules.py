"""Tests of the torchscript backend: modules that are served like engines, and the engines that they call."""

from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.backends.torchscript.modules import ROWS, description, from_code, write, write_code
from tests.seam.conftest import Gates, Harness, RunInThread

ONES = np.ones((1, 4), np.float32)
DOUBLE = "input x FP32 -1 4\noutput y x 2"


class Affine(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("shift", torch.arange(4.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).relu() + self.shift


class Calls(torch.nn.Module):
    """Calls an engine between two steps of its own."""

    def __init__(self, engine: int) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(self.engine, [x + 1])[0] - 1


class ByName(torch.nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        engine = torch.ops.trt.engine(self.name)
        return torch.ops.trt.execute_engine_list(engine, [x + 1])[0] - 1


def load(harness: Harness, path: Path, **options: object) -> int:
    return harness.load_file(path, "torchscript", device="cpu", **options)


def refusal(harness: Harness, path: Path, **options: object) -> str:
    with pytest.raises(runtime_ext.Error) as refused:
        load(harness, path, **options)
    assert refused.value.kind == "InvalidInput"
    return str(refused.value)


def test_a_module_is_served_with_the_results_of_plain_torch(harness: Harness, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Affine().eval()
    engine = load(harness, write(tmp_path / "m.pt", module))
    x = torch.randn(5, 4)
    with torch.inference_mode():
        expected = module(x)
    np.testing.assert_allclose(harness.infer(engine, x=x.numpy())["y"], expected.numpy(), rtol=1e-5)


def test_calls_may_be_nested_at_any_depth(harness: Harness, tmp_path: Path) -> None:
    depth = 30
    methods = ["def f0(self, x: Tensor) -> Tensor:\n    return x * 2\n"]
    methods += [
        f"def f{i}(self, x: Tensor) -> Tensor:\n    return self.f{i - 1}(x) + 1\n" for i in range(1, depth)
    ]
    forward = f"def forward(self, x: Tensor) -> Tensor:\n    return self.f{depth - 1}(x)\n"
    engine = load(harness, write(tmp_path / "m.pt", from_code(*methods, forward)))
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[2.0 + depth - 1] * 4]


def test_its_tensors_are_those_of_the_description(harness: Harness, tmp_path: Path) -> None:
    engine = load(harness, write(tmp_path / "m.pt", Affine()))
    info = harness.runtime.engine(engine)
    assert [(spec.name, spec.datatype, spec.shape) for spec in info.inputs] == [("x", "FP32", [-1, 4])]
    assert [(spec.name, spec.datatype, spec.shape) for spec in info.outputs] == [("y", "FP32", [-1, 4])]


def test_a_description_that_is_given_replaces_the_archives_own(harness: Harness, tmp_path: Path) -> None:
    given = description({"x": ("FP32", [2, 4])}, {"result": ("FP32", [2, 4])})
    engine = load(harness, write(tmp_path / "m.pt", Affine()), tensors=given)
    assert harness.runtime.engine(engine).outputs[0].name == "result"


def test_without_a_description_the_refusal_has_one_to_fill_in(harness: Harness, tmp_path: Path) -> None:
    sentence = refusal(harness, write(tmp_path / "m.pt", Affine(), described=False))
    assert '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]' in sentence


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("{", "is no JSON"),
        ("[]", "has it that is not an object"),
        ('{"inputs": []}', "has no 'outputs'"),
        (description({"z": ROWS}, {"y": ROWS}), "calls input 0 'z'; the argument's name is 'x'"),
        (description({"x": ROWS, "z": ROWS}, {"y": ROWS}), "has 2 inputs; the module's forward takes 1"),
        (description({"x": ROWS}, {"y": ROWS, "z": ROWS}), "has 2 outputs; the module's forward returns 1"),
        (description({"x": ("FP31", [1])}, {"y": ROWS}), "the datatype FP31; allowed are"),
        (description({"x": ("FP32", [-2])}, {"y": ROWS}), "neither -1 nor a whole number"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    harness: Harness, tmp_path: Path, given: str, why: str
) -> None:
    assert why in refusal(harness, write(tmp_path / "m.pt", Affine()), tensors=given)


def test_joined_requests_run_as_one_execution_and_get_their_own_rows(
    harness: Harness, gates: Gates, tmp_path: Path
) -> None:
    gate = gates.new()
    inner = harness.load_toy(f"{DOUBLE}\ngate {gate}")
    engine = load(harness, write(tmp_path / "m.pt", Calls(inner)), max_batch_size=8)
    first = harness.submit(engine, x=ONES)
    gates.wait_for(gate, 1)
    later = [harness.submit(engine, x=np.full((1, 4), float(i), np.float32)) for i in range(4)]
    gates.open(gate)
    completions = harness.wait(first, *later)
    assert [c.batch_requests for c in completions] == [1, 4, 4, 4, 4]
    values = [np.frombuffer(c.outputs[0], np.float32)[0] for c in completions]
    assert values == [3, 1, 3, 5, 7]


def test_a_module_calls_an_engine_by_its_id(harness: Harness, tmp_path: Path) -> None:
    inner = harness.load_toy(DOUBLE)
    engine = load(harness, write(tmp_path / "m.pt", Calls(inner)))
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[3.0] * 4]
    assert harness.runtime.engine(engine).uses == [inner]
    assert harness.runtime.engine(inner).uses == []


def test_a_name_stands_for_the_engine_that_the_options_give(harness: Harness, tmp_path: Path) -> None:
    inner = harness.load_toy(DOUBLE, name="another")
    engine = load(harness, write(tmp_path / "m.pt", ByName("double")), engines={"double": inner})
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[3.0] * 4]
    assert harness.runtime.engine(engine).uses == [inner]


def test_a_name_that_stands_for_nothing_is_refused(harness: Harness, tmp_path: Path) -> None:
    assert "an engine named 'double'" in refusal(harness, write(tmp_path / "m.pt", ByName("double")))


def test_in_eager_code_a_name_is_that_of_a_loaded_engine(harness: Harness) -> None:
    inner = harness.load_toy(DOUBLE, name="double")
    assert torch.ops.trt.engine("double") == inner
    with pytest.raises(runtime_ext.Error, match="no loaded engine named 'triple'") as refused:
        torch.ops.trt.engine("triple")
    assert refused.value.kind == "NotFound"


def test_an_engine_whose_id_is_computed_is_refused(harness: Harness, tmp_path: Path) -> None:
    class Computed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.trt.execute_engine_list(x.size(0), [x])[0]

    assert "whose ID is computed" in refusal(harness, write(tmp_path / "m.pt", Computed()))


def test_a_module_whose_engine_is_not_loaded_cannot_be_loaded(harness: Harness, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", Calls(404))
    with pytest.raises(runtime_ext.Error, match="calls engine 404, which is not loaded") as refused:
        load(harness, path)
    assert refused.value.kind == "NotFound"
    assert harness.runtime.engines() == []


def test_a_module_that_calls_itself_is_refused(harness: Harness, tmp_path: Path) -> None:
    assert "calls itself" in refusal(harness, write(tmp_path / "m.pt", Calls(1)))


def test_an_engine_that_a_module_uses_cannot_be_unloaded(harness: Harness, tmp_path: Path) -> None:
    inner = harness.load_toy(DOUBLE)
    engine = load(harness, write(tmp_path / "m.pt", Calls(inner)), name="pipeline")
    with pytest.raises(runtime_ext.Error, match=rf"is used by engine {engine} \(pipeline\)") as refused:
        harness.runtime.unload(inner)
    assert refused.value.kind == "Conflict"
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[3.0] * 4]
    harness.runtime.unload(engine)
    harness.runtime.unload(inner)
    assert harness.runtime.engines() == []


def test_a_runtime_closes_modules_before_the_engines_that_they_use(harness: Harness, tmp_path: Path) -> None:
    inner = harness.load_toy(DOUBLE)
    path = tmp_path / "m.pt"
    for _ in range(3):
        inner = load(harness, write(path, Calls(inner)))
    harness.runtime.close()
    assert harness.runtime.engines() == []


def test_an_inspection_names_the_engines_without_any(harness: Harness, tmp_path: Path) -> None:
    by_id = harness.runtime.inspect_module(str(write(tmp_path / "a.pt", Calls(404))))
    assert (by_id.engine_ids, by_id.engine_names) == ([404], [])
    by_name = harness.runtime.inspect_module(str(write(tmp_path / "b.pt", ByName("double"))))
    assert (by_name.engine_ids, by_name.engine_names) == ([], ["double"])
    assert [spec.name for spec in by_name.inputs + by_name.outputs] == ["x", "y"]


class DataDependent(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x[:, 0] > 0]


def test_an_output_may_have_a_shape_that_depends_on_values(harness: Harness, tmp_path: Path) -> None:
    engine = load(harness, write(tmp_path / "m.pt", DataDependent()))
    x = np.array([[1] * 4, [-1] * 4, [2] * 4], np.float32)
    assert harness.infer(engine, x=x)["y"].tolist() == [[1] * 4, [2] * 4]
    assert harness.infer(engine, x=-np.abs(x))["y"].shape == (0, 4)


def test_many_threads_may_run_one_module(
    harness: Harness, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    inner = harness.load_toy(DOUBLE, instances=2)
    engine = load(harness, write(tmp_path / "m.pt", Calls(inner)), instances=3)
    module = runtime_ext.module(harness.runtime, engine)
    futures = [
        run_in_thread(lambda v=v: [module(torch.full((1, 4), float(v))) for _ in range(30)]) for v in range(8)
    ]
    for value, future in enumerate(futures):
        assert all(torch.equal(y, torch.full((1, 4), 2.0 * value + 1)) for y in future.result())


def test_its_constants_are_its_memory(harness: Harness, tmp_path: Path) -> None:
    engine = load(harness, write(tmp_path / "m.pt", Affine()))
    assert harness.runtime.memory(engine)["cpu"]["weights"] == 4 * (16 + 4 + 4)


def test_forward_written_as_text_may_call_engines_too(harness: Harness, tmp_path: Path) -> None:
    inner = harness.load_toy(DOUBLE)
    code = f"""
def forward(self, x: Tensor) -> Tensor:
    return torch.ops.trt.execute_engine_list({inner}, [x])[0]
"""
    engine = load(harness, write_code(tmp_path / "m.pt", code))
    assert harness.infer(engine, x=ONES)["y"].tolist() == [[2.0] * 4]
