"""The fake runtime matches runtime_ext/_C.pyi in signature and behaviour."""

import ast
import inspect
from pathlib import Path

import pytest

from runtime_ext import Error
from tests.fakes import log, values
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, LoadOptions, TensorSpec
from tests.submitting import submit

SEAM = ast.parse((Path(__file__).parents[2] / "runtime_ext" / "_C.pyi").read_text())
CLASSES = {node.name: node for node in SEAM.body if isinstance(node, ast.ClassDef)}
NO_FAKE = {  # tests use the real ones
    "CutDocument",
    "Error",
    "FilePart",
    "GrpcMessage",
    "GrpcSession",
    "HeadReader",
    "JsonLayout",
    "ManualClock",
    "TensorMemory",
}
OF_TORCH = {"script_module"}

ENGINE = 7
ROW = bytes(range(16))  # FP32 [1, 4]


def fake_of(name: str) -> type:
    found = FakeRuntime if name == "Runtime" else getattr(values, name, None) or getattr(log, name)
    assert isinstance(found, type)
    return found


def parameters(method: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in (*method.args.posonlyargs, *method.args.args)]


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - NO_FAKE))
def test_a_fake_has_the_members_of_the_seam(name: str) -> None:
    fake = fake_of(name)
    attributes = set(dir(fake)) | set(getattr(fake, "__annotations__", {}))
    for member in CLASSES[name].body:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            assert member.target.id in attributes
        if not isinstance(member, ast.FunctionDef) or member.name.startswith("__") or member.name in OF_TORCH:
            continue
        assert member.name in attributes
        if not member.decorator_list:
            assert list(inspect.signature(getattr(fake, member.name)).parameters) == parameters(member)


@pytest.fixture
def loaded(runtime: FakeRuntime, tmp_path: Path) -> FakeRuntime:
    plan = tmp_path / "a.plan"
    plan.write_bytes(onnx_plan())
    runtime.inputs = [TensorSpec("a", "FP32", [-1, 4]), TensorSpec("b", "INT8", [-1])]
    runtime.load(ENGINE, str(plan), "openvino", LoadOptions())
    return runtime


def test_one_buffer_is_split_by_shape_and_datatype_from_the_offset(loaded: FakeRuntime) -> None:
    prepared = loaded.prepare(ENGINE, [("b", "INT8", [3]), ("a", "FP32", [1, 4])])
    seen: list[values.Input] = []
    loaded.compute = lambda inputs: seen.extend(inputs) or []
    loaded.submit(prepared, b"head" + b"bbb" + ROW, 4)
    loaded.submit(prepared, (b"bbb", ROW))
    assert [(name, bytes(data)) for name, _, _, data in seen] == [("b", b"bbb"), ("a", ROW)] * 2  # type: ignore[call-overload]


@pytest.mark.parametrize("data", [b"bbb" + ROW[1:], b"bbb" + ROW + b"?", (ROW,)])
def test_data_of_another_length_is_refused(loaded: FakeRuntime, data: object) -> None:
    prepared = loaded.prepare(ENGINE, [("b", "INT8", [3]), ("a", "FP32", [1, 4])])
    with pytest.raises(Error) as refusal:
        loaded.submit(prepared, data)
    assert refusal.value.kind == "InvalidInput"
    assert loaded.waiting == []


def test_a_prepared_request_ends_with_its_engine(loaded: FakeRuntime) -> None:
    prepared = loaded.prepare(ENGINE, [("b", "INT8", [3]), ("a", "FP32", [1, 4])])
    loaded.unload(ENGINE)
    with pytest.raises(Error) as refusal:
        loaded.submit(prepared, b"bbb" + ROW)
    assert refusal.value.kind == "NotFound"


def test_held_requests_run_by_priority_then_arrival(loaded: FakeRuntime) -> None:
    loaded.hold()
    inputs = [("a", "FP32", [1, 4], ROW), ("b", "INT8", [3], b"bbb")]
    tickets = [submit(loaded, ENGINE, inputs, None, priority) for priority in (2, 1, 0, 1)]
    loaded.release()
    low, first, high, second = tickets
    assert [completion.ticket for completion in loaded.take_completions()] == [high, first, second, low]
    with pytest.raises(Error) as refusal:
        submit(loaded, ENGINE, inputs, None, 3)
    assert refusal.value.kind == "InvalidInput"


def test_a_completion_has_shapes_data_and_the_requests_of_its_batch(loaded: FakeRuntime) -> None:
    big = bytes(4 * 8192)
    inputs = [("a", "FP32", [2048, 4], big), ("b", "INT8", [3], b"bbb")]
    submit(loaded, ENGINE, inputs)
    (completion,) = loaded.take_completions()
    assert (completion.shapes, completion.batch_requests) == (((2048, 4),), 1)
    assert isinstance(completion.data(0), memoryview)
    (stats,) = loaded.stats()
    assert (stats.batch.counts[0], stats.batch.sum) == (1, 1)

    assert stats.success.ns == stats.queue_time.ns + completion.compute_ns
    assert (stats.inference_count, stats.execution_count, stats.fail.count) == (1, 1, 0)
    assert [(batch.size, batch.compute_infer) for batch in stats.batches] == [(1, stats.compute_infer)]

    loaded.hold()
    loaded.cancel(ENGINE, submit(loaded, ENGINE, inputs))
    (completion,) = loaded.take_completions()
    assert (completion.shapes, completion.batch_requests) == ((), 0)
    assert (stats.outcomes, stats.fail.count) == ({"Success": 1, "Cancelled": 1}, 1)
