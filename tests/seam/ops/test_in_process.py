"""Engines of a program without a server: load_engine and wrap."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

import runtime_ext
from runtime_ext import _C
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.seam.models import as_blob, scaling
from tests.seam.ops.in_process import DOUBLE, Around, X, is_loaded, loaded, refusal, run, saved, toy

pytestmark = pytest.mark.usefixtures("process_engines")


# -- loading


def test_the_id_is_that_of_a_server(double: Path) -> None:
    engine = runtime_ext.load_engine(double)
    assert engine == int(hashlib.sha256(double.read_bytes()).hexdigest()[:13], 16)


def test_a_plan_that_is_loaded_twice_is_one_engine_until_both_have_unloaded_it(double: Path) -> None:
    engine = runtime_ext.load_engine(double, name="first")
    assert runtime_ext.load_engine(str(double), name="second") == engine
    runtime_ext.unload_engine(engine)
    assert torch.equal(runtime_ext.wrap(engine)(X), 2 * X)
    runtime_ext.unload_engine(engine)
    assert not is_loaded(engine)
    assert "has loaded here" in refusal("NotFound", lambda: runtime_ext.unload_engine(engine))


def test_a_copy_of_the_plan_is_the_same_engine(double: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.onnx"
    twin.write_bytes(double.read_bytes())
    assert runtime_ext.load_engine(twin) == runtime_ext.load_engine(double)


def test_other_options_than_those_of_the_loaded_engine_are_refused(double: Path) -> None:
    engine = runtime_ext.load_engine(double)
    told = refusal("Conflict", lambda: runtime_ext.load_engine(double, instances=3))
    assert "option instances" in told
    runtime_ext.unload_engine(engine)
    assert not is_loaded(engine)


def test_another_plan_under_an_id_that_is_taken_is_refused(double: Path, tmp_path: Path) -> None:
    engine = runtime_ext.load_engine(double)
    other = scaling(tmp_path / "other.onnx", 3.0)
    told = refusal(
        "Conflict", lambda: _C.load_process_engine(engine, str(other), "", runtime_ext.LoadOptions())
    )
    assert "from another plan" in told


def test_a_blob_of_openvino_is_recognised(double: Path, tmp_path: Path) -> None:
    engine = runtime_ext.load_engine(as_blob(double, tmp_path / "double.blob"))
    assert torch.equal(runtime_ext.wrap(engine)(X), 2 * X)


@pytest.mark.parametrize(
    ("head", "kind", "told"),
    [
        (b"", "InvalidInput", "is empty"),
        (b"PK\x03\x04", "InvalidInput", "torch.jit.load"),
        (b"\x89PNG", "InvalidInput", "not a plan that is known"),
        (b"ftrt", "InvalidInput", "cut off"),
        (b"ftrt" + bytes(20) + bytes([99, 1, 0, 0]), "Unsupported", "TensorRT 99"),
        (b"ptrt" + bytes(20) + bytes([2, 128, 1, 0, 99]), "Unsupported", "TensorRT 99"),
        (b"\x02\0\0\0{}ftrt" + bytes(20) + bytes([99, 1, 0, 0]), "Unsupported", "TensorRT 99"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_with_what_it_is(
    tmp_path: Path, head: bytes, kind: str, told: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(head)
    assert told in refusal(kind, lambda: runtime_ext.load_engine(file))


def test_a_load_that_fails_leaves_nothing(tmp_path: Path) -> None:
    plan = toy(tmp_path, "nonsense")
    refusal("InvalidInput", lambda: runtime_ext.load_engine(plan, backend="toy"))
    runtime_ext.create_runtime().close()


def test_threads_that_load_one_plan_load_it_once(
    gates: Gates, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    plan = toy(tmp_path, f"{DOUBLE}\nload_gate {gate}")
    loads = [run_in_thread(runtime_ext.load_engine, plan, backend="toy") for _ in range(4)]
    gates.wait_for(gate, 1)
    gates.open(gate)
    (engine,) = {load.result() for load in loads}
    assert gates.contexts == 1
    for _ in loads:
        runtime_ext.unload_engine(engine)
    assert gates.contexts == 0


def test_an_unload_waits_for_the_executions_under_way(
    gates: Gates, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    engine = runtime_ext.load_engine(toy(tmp_path, f"{DOUBLE}\ngate {gate}"), backend="toy")
    running = run_in_thread(runtime_ext.wrap(engine), X)
    gates.wait_for(gate, 1)
    unloading = run_in_thread(runtime_ext.unload_engine, engine)
    gates.open(gate)
    assert torch.equal(running.result(), 2 * X)
    unloading.result()
    assert gates.contexts == 0


# -- with a runtime


def test_a_program_with_a_runtime_is_told_to_load_the_engine_there(harness: Harness, double: Path) -> None:
    told = refusal("Conflict", lambda: runtime_ext.load_engine(double))
    assert "it is a runtime's: close that first, or load the engine with its load()" in told


def test_a_program_with_engines_is_told_how_to_have_a_runtime(double: Path) -> None:
    runtime_ext.load_engine(double)
    assert "runtime_ext.shutdown()" in refusal("Conflict", runtime_ext.create_runtime)
    runtime_ext.shutdown()
    runtime_ext.create_runtime().close()


def test_an_engine_of_a_runtime_has_no_portable_module_but_is_wrapped(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    assert torch.equal(runtime_ext.wrap(engine)(X), 2 * X)
    refusal("NotFound", lambda: runtime_ext.wrap(engine, portable=True))


# -- the wrapper


@pytest.fixture
def wrapped(double: Path) -> torch.jit.ScriptModule:
    return runtime_ext.wrap(runtime_ext.load_engine(double))


def test_the_wrapper_works_in_eager_and_scripted_and_traced_code(wrapped: torch.jit.ScriptModule) -> None:
    expected = 2 * X + 1
    assert torch.equal(Around(wrapped)(X), expected)
    assert torch.equal(torch.jit.script(Around(wrapped))(X), expected)
    assert torch.equal(torch.jit.trace(Around(wrapped), X)(X), expected)


def test_the_wrapper_can_be_exported_before_it_has_ever_run(wrapped: torch.jit.ScriptModule) -> None:
    batch = {"x": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(Around(wrapped), (X,), dynamic_shapes=batch)
    assert torch.equal(exported.module()(X[:1]), 2 * X[:1] + 1)


def test_a_scripted_module_around_the_wrapper_can_be_saved_and_loaded(
    wrapped: torch.jit.ScriptModule,
) -> None:
    assert torch.equal(loaded(saved(torch.jit.script(Around(wrapped))))(X), 2 * X + 1)


def test_many_threads_call_one_wrapper(gates: Gates, tmp_path: Path, run_in_thread: RunInThread) -> None:
    engine = runtime_ext.load_engine(toy(tmp_path, DOUBLE), backend="toy", instances=2)
    module = torch.jit.script(Around(runtime_ext.wrap(engine)))
    calls = [run_in_thread(lambda v=v: [module(X + v) for _ in range(20)]) for v in range(8)]
    for value, call in enumerate(calls):
        assert all(torch.equal(y, 2 * (X + value) + 1) for y in call.result())
    assert gates.most_in_one_context == 1


# -- the documentation


def test_the_examples_of_the_documentation_run(double: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "in-process.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    double.rename(double.with_name("model.onnx"))
    assert len(examples) == 3
    for example in examples:
        script = double.with_name("example.py")  # TorchScript reads its source
        script.write_text(example)
        code = "import os, runpy, sys; os.chdir(sys.argv[1]); runpy.run_path('example.py')"
        ended = run(code, str(double.parent))
        assert ended.returncode == 0, ended.stderr
