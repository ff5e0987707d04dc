"""The compiler: one part of a model becomes an engine, torch keeps the rest, the results stay the same."""

import gc
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import runtime_ext
from runtime_ext import _C
from runtime_ext.compiler import CompileError

BATCH = {"x": {0: torch.export.Dim("batch")}}


@pytest.fixture(autouse=True)
def _no_engines_are_left() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    gc.collect()
    runtime_ext.shutdown()


class Net(nn.Module):
    """Map images [N, 3, 16, 16] to boxes [N, 64, 4] and scores [N, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.box = nn.Conv2d(8, 4, 1)
        self.score = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.box(hidden).flatten(2).transpose(1, 2), self.score(hidden).flatten(1)


class Detector(nn.Module):
    """A histogram, which ONNX does not have, before the net, and a choice that depends on data after it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        brightest = torch.histc(x.float(), 16).max()
        boxes, scores = self.net((x.float() / 255 - self.mean) / (1 + brightest))
        kept = torch.nonzero(scores[0] > scores[0].median()).squeeze(1)
        best = torch.argsort(scores[0][kept], descending=True)
        return boxes[0][kept][best], scores[0][kept][best]


def image() -> Tensor:
    return torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)


def compiled_detector() -> tuple[Detector, runtime_ext.Compiled]:
    detector = Detector().eval()
    return detector, runtime_ext.compile(detector, [image()])


def check(module: nn.Module, model: nn.Module, *inputs: Tensor) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(module(*inputs), model(*inputs), rtol=1e-4, atol=1e-5)


def test_the_net_becomes_the_engine_and_what_onnx_or_data_forbids_stays_in_torch() -> None:
    _, compiled = compiled_detector()
    assert compiled.in_engine.count("aten::conv2d") == 3
    assert "aten::conv2d" not in compiled.in_torch
    assert {"aten::histc", "aten::nonzero"} <= set(compiled.in_torch)


def test_what_comes_before_and_is_used_only_by_the_engine_joins_it() -> None:
    _, compiled = compiled_detector()
    assert {"aten::div.Tensor", "aten::sub.Tensor"} <= set(compiled.in_engine)
    assert {"aten::div.Tensor", "aten::sub.Tensor"}.isdisjoint(compiled.in_torch)


@pytest.mark.parametrize("of", ["module", "scripted", "exported"])
def test_the_results_are_those_of_pytorch_whatever_the_model_is_given_as(of: str) -> None:
    detector = Detector().eval()
    model = {
        "module": lambda: detector,
        "scripted": lambda: torch.jit.script(detector),
        "exported": lambda: torch.export.export(detector, (image(),)),
    }[of]()
    compiled = runtime_ext.compile(model, [image()])
    for _ in range(5):
        check(compiled.module, detector, image())
    assert compiled.largest_error < 1e-5


def test_the_module_calls_the_engine_once() -> None:
    _, compiled = compiled_detector()
    assert str(compiled.module.inlined_graph).count("trt::execute_engine_list") == 1


def test_a_saved_module_stands_the_engine_up_again(tmp_path: Path) -> None:
    detector, compiled = compiled_detector()
    file = tmp_path / "detector.pt"
    compiled.save(file)
    del compiled
    runtime_ext.shutdown()
    check(torch.jit.load(file), detector, image())


def test_the_parts_are_a_plan_and_a_module_that_calls_its_engine_by_the_id(tmp_path: Path) -> None:
    detector, compiled = compiled_detector()
    module, plan = tmp_path / "detector.pt", tmp_path / "detector.onnx"
    compiled.save_parts(module, plan)
    engine = compiled.engine
    del compiled
    runtime_ext.shutdown()
    loaded = torch.jit.load(module)
    assert f"value={engine}" in str(torch.jit.freeze(loaded.eval()).graph)
    assert runtime_ext.load_engine(plan) == engine
    check(loaded, detector, image())


def test_the_file_describes_the_tensors_of_the_module(tmp_path: Path) -> None:
    _, compiled = compiled_detector()
    compiled.save(tmp_path / "detector.pt")
    extra = {"trtserve.json": ""}
    torch.jit.load(tmp_path / "detector.pt", _extra_files=extra)
    assert json.loads(extra["trtserve.json"]) == {
        "inputs": [{"name": "x", "datatype": "UINT8", "shape": [1, 3, 16, 16]}],
        "outputs": [
            {"name": "output0", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "output1", "datatype": "FP32", "shape": [-1]},
        ],
    }


def test_dynamic_dimensions_stay_dynamic_in_the_engine_and_around_it() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor) -> Tensor:
            boxes, scores = self.net(x * torch.histc(x, 4).mean())
            weighted = boxes.reshape(x.shape[0], -1) * scores.repeat(1, 4)
            return torch.cat([weighted, x.new_full((x.shape[0], 2), float("inf"))], 1)

    model = Around().eval()
    compiled = runtime_ext.compile(model, [torch.rand(2, 3, 16, 16)], dynamic=BATCH)
    for batch in (1, 2, 5):
        check(compiled.module, model, torch.rand(batch, 3, 16, 16))
    assert json.loads(compiled.tensors)["outputs"] == [
        {"name": "output", "datatype": "FP32", "shape": [-1, 258]}
    ]


def test_a_model_that_is_an_engine_as_a_whole_leaves_nothing_in_torch() -> None:
    net = Net().eval()
    compiled = runtime_ext.compile(net, [torch.rand(1, 3, 16, 16)])
    assert compiled.in_torch == []
    check(compiled.module, net, torch.rand(1, 3, 16, 16))


def test_a_part_that_needs_a_result_of_torch_in_between_is_not_torn_apart() -> None:
    """What follows the histogram needs it and the first layer: one engine cannot have both sides of it."""

    class Sandwich(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 16)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x).relu()
            return self.second(hidden * torch.histc(hidden, 8)).relu() + hidden.sum()

    model = Sandwich().eval()
    compiled = runtime_ext.compile(model, [torch.rand(4, 8)])
    assert compiled.in_engine.count("aten::linear") == 1
    assert compiled.in_torch.count("aten::linear") == 1
    check(compiled.module, model, torch.rand(4, 8))


def test_the_end_of_the_compiled_module_unloads_its_engine() -> None:
    _, compiled = compiled_detector()
    engine = compiled.engine
    del compiled
    gc.collect()
    with pytest.raises(runtime_ext.Error, match="there is no engine"):
        _C.engine_info(engine)


def test_a_compiled_module_survives_freezing() -> None:
    detector, compiled = compiled_detector()
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(compiled.module.eval()), file)
    file.seek(0)
    check(torch.jit.load(file), detector, image())


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Unconvertible(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.mode(x).values


class RefusedLate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.histc(x, 4)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class Nested(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x.relu(), x.shape[0]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Stateful(), "the model changes calls"),
        (Unconvertible(), r"node mode \(aten::mode\) cannot be converted"),
        (RefusedLate(), r"node histc: .* not supported"),
        (Branching(), "cannot be exported: .*data-dependent"),
        (Nested(), "return a tensor, or a tuple of tensors"),
    ],
)
def test_a_model_that_cannot_be_compiled_is_refused_with_what_is_in_the_way(
    model: nn.Module, told: str
) -> None:
    with pytest.raises(CompileError, match=told):
        runtime_ext.compile(model.eval(), [torch.ones(2, 3)])


def test_a_loop_of_torchscript_that_depends_on_data_is_refused_and_named() -> None:
    class Looping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            while bool(x.sum() > 1):
                x = x / 2
            return x

    with pytest.raises(CompileError, match=r"the model cannot be exported: .*prim::Loop") as refused:
        runtime_ext.compile(torch.jit.script(Looping()), [torch.ones(2, 3)])
    assert "The model has prim::Loop: while bool(x.sum() > 1):" in str(refused.value)


class Chooses(nn.Module):
    """A branch of TorchScript that depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        y = y + 1 if bool(x.sum() > 0) else y * 3
        return torch.mode(y).values


def test_a_branch_of_torchscript_runs_in_the_engine_whichever_side_is_taken() -> None:
    model = Chooses().eval()
    compiled = runtime_ext.compile(torch.jit.script(model), [torch.ones(2, 3)])
    assert compiled.in_torch == ["aten::mode"]
    for x in (torch.ones(2, 3), -torch.ones(2, 3)):
        check(compiled.module, model, x)


def test_a_branch_that_no_engine_can_have_is_refused_and_named() -> None:
    class Counts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.relu()
            return torch.histc(y, 3) if bool(x.sum() > 0) else y.sum(0)

    with pytest.raises(CompileError, match="node cond is a branch that depends on data"):
        runtime_ext.compile(torch.jit.script(Counts()), [torch.ones(2, 3)])


def test_a_loop_with_a_constant_number_of_turns_is_unrolled() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = self.layer(x)
            return x

    model = Three().eval()
    compiled = runtime_ext.compile(torch.jit.script(model), [torch.ones(2, 3)])
    assert compiled.in_engine == ["aten::linear"] * 3
    check(compiled.module, model, torch.rand(2, 3))


def test_a_result_that_is_not_pytorchs_is_refused() -> None:
    class Changing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() + torch.randperm(100)

    with pytest.raises(CompileError, match="output 0 of the compiled model is not that of PyTorch"):
        runtime_ext.compile(Changing(), [torch.rand(100)])


def test_a_backend_that_the_compiler_does_not_build_for_is_refused() -> None:
    with pytest.raises(CompileError, match="backend is 'tvm'; the compiler builds for openvino and tensorrt"):
        runtime_ext.compile(Net().eval(), [torch.rand(1, 3, 16, 16)], backend="tvm")


def test_options_of_a_build_are_refused_for_a_backend_that_builds_nothing() -> None:
    build = runtime_ext.BuildOptions(precision="f16")
    with pytest.raises(CompileError, match="`build` is for tensorrt"):
        runtime_ext.compile(Net().eval(), [torch.rand(1, 3, 16, 16)], build=build)


def test_a_size_that_both_sides_need_does_not_cross_the_border() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            found = self.layer(x.reshape(x.shape[0], 6))
            return torch.mode(found.flatten()).values.expand(x.shape[0], 4)

    model = Sized().eval()
    compiled = runtime_ext.compile(model, [torch.rand(4, 2, 3)], dynamic=BATCH)
    check(compiled.module, model, torch.rand(7, 2, 3))


def test_a_tensor_whose_size_depends_on_data_is_left_to_torch() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            scores = self.layer(x).flatten()
            return x[torch.nonzero(scores > scores.mean()).squeeze(1)]

    compiled = runtime_ext.compile(Choosing().eval(), [torch.rand(5, 4)])
    assert compiled.in_torch == ["aten::nonzero", "aten::squeeze.dim", "aten::index.Tensor"]
