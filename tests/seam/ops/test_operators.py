"""Tests of `trt::execute_engine`, the wrapper around it, and the typed operator."""

import io
from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper
from torch._subclasses.fake_tensor import FakeTensorMode

import runtime_ext
from runtime_ext.operators import DTYPES
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.seam.models import write_onnx

LENET = "input x FP32 -1 4\noutput y x 2"
LIST = torch.ops.trt.execute_engine_list.default
PAIR = "input a FP32 2\ninput b INT32 3\noutput p a 2\noutput q b 3"


def test_the_wrappers_graph_holds_the_id_and_calls_the_operator(harness: Harness) -> None:
    engine = harness.load_toy(LENET, name="LeNet")
    lines = [line.strip() for line in harness.runtime.graph(engine).splitlines() if line.strip()]
    assert lines == [
        "graph(%self : __torch__.LeNet_trt,",
        "%x : Tensor):",
        f"%1 : int = prim::Constant[value={engine}]()",
        "%3 : Tensor = trt::execute_engine(%1, %x)",
        "return (%3)",
    ]


def test_an_id_of_52_bits_stays_exact_in_the_graph(harness: Harness, tmp_path: Path) -> None:
    engine = 2**52 - 1
    plan = tmp_path / "plan"
    plan.write_text(f"toy 1\n{LENET}\n")
    harness.runtime.load(engine, str(plan), "toy", runtime_ext.LoadOptions())
    assert f"prim::Constant[value={engine}]" in harness.runtime.graph(engine)
    assert runtime_ext.module(harness.runtime, engine)(torch.ones(1, 4)).sum() == 8


def test_the_module_runs_the_engine(harness: Harness) -> None:
    module = runtime_ext.module(harness.runtime, harness.load_toy(LENET))
    assert torch.equal(module(torch.ones(3, 4)), 2 * torch.ones(3, 4))


def test_several_inputs_and_outputs_are_arguments_and_a_tuple(harness: Harness) -> None:
    module = runtime_ext.module(harness.runtime, harness.load_toy(PAIR))
    p, q = module(torch.ones(2), torch.ones(3, dtype=torch.int32))
    assert p.tolist() == [2, 2]
    assert q.tolist() == [3, 3, 3]


def test_a_strided_input_is_accepted(harness: Harness) -> None:
    module = runtime_ext.module(harness.runtime, harness.load_toy(LENET))
    strided = torch.arange(16.0).reshape(4, 4).t()
    assert torch.equal(module(strided), 2 * strided)


def test_an_input_that_requires_grad_is_accepted_and_no_gradient_flows(harness: Harness) -> None:
    module = runtime_ext.module(harness.runtime, harness.load_toy(LENET))
    assert not module(torch.ones(1, 4, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((torch.ones(3, 5),), r"input 'x' has shape \[3, 5\]; the engine takes \[\?, 4\]"),
        ((torch.ones(4),), r"input 'x' has shape \[4\]; the engine takes \[\?, 4\]"),
        ((torch.ones(1, 4, dtype=torch.float64),), "input 'x' has datatype FP64; the engine takes FP32"),
        (
            (torch.ones(1, 4, dtype=torch.complex64),),
            "input 'x' has datatype ComplexFloat; the engine takes FP32",
        ),
        ((torch.ones(1, 4).to_sparse(),), "input 'x' is not a dense tensor"),
    ],
)
def test_a_wrong_argument_raises_a_sentence_that_names_the_tensor(
    harness: Harness, arguments: tuple[torch.Tensor, ...], sentence: str
) -> None:
    engine = harness.load_toy(LENET)
    with pytest.raises(RuntimeError, match=sentence):
        runtime_ext.module(harness.runtime, engine)(*arguments)
    with pytest.raises(runtime_ext.Error, match=sentence):
        torch.ops.trt.execute_engine_list(engine, list(arguments))


def test_a_wrong_number_of_inputs_is_refused(harness: Harness) -> None:
    engine = harness.load_toy(LENET)
    with pytest.raises(runtime_ext.Error, match="takes 1 inputs; 2 came"):
        torch.ops.trt.execute_engine_list(engine, [torch.ones(1, 4)] * 2)


def test_an_unknown_id_is_a_clear_error(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error, match="there is no engine 404"):
        torch.ops.trt.execute_engine_list(404, [torch.ones(1)])


def test_a_module_whose_engine_was_unloaded_says_so(harness: Harness) -> None:
    engine = harness.load_toy(LENET)
    module = runtime_ext.module(harness.runtime, engine)
    harness.runtime.unload(engine)
    with pytest.raises(RuntimeError, match=f"there is no engine {engine}: .*unloaded"):
        module(torch.ones(1, 4))


def test_an_operator_without_a_runtime_says_so(harness: Harness) -> None:
    engine = harness.load_toy(LENET)
    harness.runtime.close()
    with pytest.raises(runtime_ext.Error, match="there is no engine"):
        torch.ops.trt.execute_engine_list(engine, [torch.ones(1, 4)])


@pytest.mark.parametrize(
    ("plan", "arguments"),
    [(LENET, (torch.ones(2, 4),)), (PAIR, (torch.ones(2), torch.ones(3, dtype=torch.int32)))],
)
def test_the_module_file_loads_with_torch_jit_and_gives_equal_results(
    harness: Harness, plan: str, arguments: tuple[torch.Tensor, ...]
) -> None:
    engine = harness.load_toy(plan, name="my net-2")
    loaded = torch.jit.load(io.BytesIO(harness.runtime.module_bytes(engine)))
    again = io.BytesIO()
    torch.jit.save(loaded, again)
    again.seek(0)
    expected = runtime_ext.module(harness.runtime, engine)(*arguments)
    for module in (loaded, torch.jit.load(again)):
        torch.testing.assert_close(module(*arguments), expected)


def test_scripted_code_may_call_the_typed_operator(harness: Harness) -> None:
    engine = harness.load_toy(LENET)

    @torch.jit.script
    def scripted(engine: int, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(engine, [x])[0] + 1

    assert torch.equal(scripted(engine, torch.ones(1, 4)), torch.full((1, 4), 3.0))


def test_exported_code_may_call_the_typed_operator(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 2 4\noutput y x 2")

    class Around(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.trt.execute_engine_list(engine, [x])[0] + 1

    exported = torch.export.export(Around(), (torch.ones(2, 4),))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    assert torch.equal(torch.export.load(file).module()(torch.ones(2, 4)), torch.full((2, 4), 3.0))


def test_exported_code_may_name_the_engine_and_keeps_the_id_that_it_had(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 2 4\noutput y x 2", name="net")

    class ByName(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net"), [x])[0]

    exported = torch.export.export(ByName(), (torch.ones(2, 4),))
    (call,) = [node for node in exported.graph.nodes if node.target is LIST]
    assert call.args[0] == engine
    assert torch.equal(exported.module()(torch.ones(2, 4)), torch.full((2, 4), 2.0))
    with FakeTensorMode(), pytest.raises(runtime_ext.Error, match="no loaded engine named 'other'"):
        torch.ops.trt.engine("other")


def test_the_fake_kernel_knows_fixed_shapes_and_makes_symbols_of_dynamic_ones(harness: Harness) -> None:
    engine = harness.load_toy("input a FP16 2 3\ninput b FP32 -1 3\noutput p a 2\noutput q b 2")

    class Around(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            p, q = torch.ops.trt.execute_engine_list(engine, [a, b])
            return p, q

    exported = torch.export.export(Around(), (torch.ones(2, 3, dtype=torch.float16), torch.ones(5, 3)))
    values = [node.meta["val"] for node in exported.graph.nodes if node.name.startswith("getitem")]
    fakes = {value.dtype: value for value in values}
    assert fakes[torch.float16].shape == torch.Size([2, 3])
    rows, columns = fakes[torch.float32].shape
    assert isinstance(rows, torch.SymInt)
    assert columns == 3


def test_more_callers_than_contexts_share_them_one_at_a_time(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    engine = harness.load_toy(LENET, instances=2)
    module = runtime_ext.module(harness.runtime, engine)
    futures = [
        run_in_thread(lambda v=v: [module(torch.full((1, 4), float(v))) for _ in range(50)]) for v in range(8)
    ]
    for value, future in enumerate(futures):
        assert all(torch.equal(y, torch.full((1, 4), 2.0 * value)) for y in future.result())
    assert gates.most_in_one_context == 1


def test_a_caller_that_waits_for_a_context_learns_of_the_unload(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    engine = harness.load_toy(f"{LENET}\ngate {gate}")
    call = lambda: torch.ops.trt.execute_engine_list(engine, [torch.ones(1, 4)])  # noqa: E731
    running = run_in_thread(call)
    gates.wait_for(gate, 1)
    waiting = run_in_thread(call)
    unloading = run_in_thread(harness.runtime.unload, engine)
    with pytest.raises(runtime_ext.Error) as refused:
        waiting.result()
    assert refused.value.kind == "NotFound"
    gates.open(gate)
    unloading.result()
    assert running.result()[0].sum() == 8
    assert gates.contexts == 0


def fake_device_of(engine: int, *devices: str) -> torch.device:
    """Return the device of the fake kernel's outputs, for inputs of one float on these devices."""
    with FakeTensorMode():
        inputs = [torch.ones(1, device=device) for device in devices]
        return torch.ops.trt.execute_engine_list(engine, inputs)[0].device


def test_the_fake_kernel_leaves_outputs_where_the_operator_does_whatever_the_inputs(harness: Harness) -> None:
    on_device = harness.load_toy("input a FP32 1\ninput b FP32 1\noutput y a 2")
    assert fake_device_of(on_device, "cpu", "meta").type == "cpu"
    assert fake_device_of(on_device, "meta", "cpu").type == "meta"
    first_on_host = harness.load_toy("input a FP32 1\ninput b FP32 1\nhost a\noutput y b 2")
    assert fake_device_of(first_on_host, "meta", "cpu").type == "cpu"
    assert fake_device_of(first_on_host, "cpu", "meta").type == "meta"
    all_on_host = harness.load_toy("input a FP32 1\nhost a\noutput y a 2")
    assert fake_device_of(all_on_host, "meta").type == "cpu"


def test_the_fake_kernel_agrees_with_the_operator_on_an_engine_without_inputs(harness: Harness) -> None:
    constant = helper.make_node("Constant", [], ["y"], value_ints=[1, 2, 3])
    file = write_onnx(harness.folder / "constant.onnx", [constant], {}, {"y": (TensorProto.INT64, [3])})
    engine = harness.load_file(file)
    (real,) = torch.ops.trt.execute_engine_list(engine, [])
    with FakeTensorMode():
        (fake,) = torch.ops.trt.execute_engine_list(engine, [])
    assert real.tolist() == [1, 2, 3]
    assert (fake.shape, fake.dtype, fake.device) == (real.shape, real.dtype, real.device)


@pytest.mark.parametrize("datatype", sorted(runtime_ext.DATATYPES))
def test_the_fake_kernel_agrees_with_the_operator_on_each_datatype(harness: Harness, datatype: str) -> None:
    engine = harness.load_toy(f"input x {datatype} 2\noutput y x 1")
    x = torch.ones(2, dtype=DTYPES[datatype])
    (real,) = torch.ops.trt.execute_engine_list(engine, [x])
    with FakeTensorMode() as mode:
        (fake,) = torch.ops.trt.execute_engine_list(engine, [mode.from_tensor(x)])
    assert (fake.shape, fake.dtype) == (real.shape, real.dtype)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([torch.ones(2)] * 2, "takes 1 inputs; 2 came"),
        ([], "takes 1 inputs; 0 came"),
        ([torch.ones(2, dtype=torch.float64)], "input 'x' .*float64; the engine takes FP32"),
    ],
)
def test_the_fake_kernel_refuses_inputs_for_what_the_operator_refuses_them(
    harness: Harness, inputs: list[torch.Tensor], told: str
) -> None:
    engine = harness.load_toy("input x FP32 2\noutput y x 2")
    with pytest.raises(runtime_ext.Error):
        torch.ops.trt.execute_engine_list(engine, inputs)
    with FakeTensorMode() as mode, pytest.raises(ValueError, match=told):
        torch.ops.trt.execute_engine_list(engine, [mode.from_tensor(each) for each in inputs])
