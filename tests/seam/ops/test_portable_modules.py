"""Modules that carry their engine."""

import copy
import gc
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import runtime_ext
from runtime_ext import _C
from tests.seam.conftest import Harness, RunInThread
from tests.seam.models import scaling
from tests.seam.ops.in_process import (
    ENGINE_CLASS,
    LOAD_AND_RUN,
    Around,
    X,
    is_loaded,
    loaded,
    refusal,
    run,
    saved,
)

pytestmark = pytest.mark.usefixtures("process_engines")


@pytest.fixture
def portable(double: Path) -> torch.jit.ScriptModule:
    engine = runtime_ext.load_engine(double, name="double")
    module = runtime_ext.wrap(engine, portable=True)
    runtime_ext.unload_engine(engine)
    return module


def engine_of(module: torch.jit.ScriptModule) -> int:
    found: int = module.runtime_ext_engine.id()
    return found


def test_the_end_of_the_last_portable_module_unloads_the_engine(double: Path) -> None:
    engine = runtime_ext.load_engine(double)
    module = runtime_ext.wrap(engine, portable=True)
    again = loaded(saved(module))
    runtime_ext.unload_engine(engine)
    refusal("NotFound", lambda: runtime_ext.unload_engine(engine))
    assert torch.equal(module(X), 2 * X)
    del module
    assert is_loaded(engine)
    del again
    assert not is_loaded(engine)


def test_a_portable_module_runs_in_a_fresh_process_that_has_nothing_but_its_file(
    portable: torch.jit.ScriptModule, tmp_path: Path
) -> None:
    file = tmp_path / "portable.pt"
    portable.save(str(file))
    (tmp_path / "double.onnx").unlink()
    ended = run(LOAD_AND_RUN, str(file))
    assert (ended.stdout, ended.stderr) == (f"{(2 * X).tolist()}\n", "")


def test_a_process_that_has_not_imported_the_package_is_told_what_is_missing(
    portable: torch.jit.ScriptModule, tmp_path: Path
) -> None:
    file = tmp_path / "portable.pt"
    portable.save(str(file))
    ended = run("import sys, torch; torch.jit.load(sys.argv[1])", str(file))
    assert f"Unknown type name '{ENGINE_CLASS}'" in ended.stderr
    assert f"runtime_ext_engine : {ENGINE_CLASS}" in ended.stderr


SURVIVED: dict[str, Callable[[torch.jit.ScriptModule], torch.jit.ScriptModule]] = {
    "saved": lambda module: loaded(saved(module)),
    "saved twice": lambda module: loaded(saved(loaded(saved(module)))),
    "frozen": lambda module: torch.jit.freeze(module.eval()),
    "frozen and saved": lambda module: loaded(saved(torch.jit.freeze(module.eval()))),
    "copied": copy.deepcopy,
    "moved": lambda module: module.to("cpu").to(torch.float64),
    "loaded elsewhere": lambda module: torch.jit.load(io.BytesIO(saved(module)), map_location="cpu"),
    "optimized": lambda module: torch.jit.optimize_for_inference(module.eval()),
}


@pytest.mark.parametrize("how", SURVIVED)
def test_a_portable_module_survives_and_the_copy_alone_keeps_the_engine(double: Path, how: str) -> None:
    engine = runtime_ext.load_engine(double)
    module = runtime_ext.wrap(engine, portable=True)
    copied = SURVIVED[how](module)
    runtime_ext.unload_engine(engine)
    del module
    gc.collect()
    assert torch.equal(copied(X), 2 * X)
    del copied
    assert not is_loaded(engine)


def test_a_portable_module_inside_scripted_code_is_saved_with_it(portable: torch.jit.ScriptModule) -> None:
    file = saved(torch.jit.script(Around(portable)))
    runtime_ext.shutdown()
    assert torch.equal(loaded(file)(X), 2 * X + 1)


def test_a_loaded_module_has_the_options_of_the_engine(double: Path) -> None:
    options = {"instances": 1, "threads": 2, "precision": "f32", "name": "double"}
    engine = runtime_ext.load_engine(double, **options)
    file = saved(runtime_ext.wrap(engine, portable=True))
    runtime_ext.shutdown()
    module = loaded(file)
    info = _C.engine_info(engine_of(module))
    assert (info.id, info.name, info.instances) == (engine, "double", 1)
    assert runtime_ext.load_engine(double, **options) == engine


def test_a_module_of_a_plan_that_is_loaded_with_other_options_is_refused(double: Path) -> None:
    engine = runtime_ext.load_engine(double, instances=2)
    file = saved(runtime_ext.wrap(engine, portable=True))
    runtime_ext.unload_engine(engine)
    gc.collect()
    runtime_ext.load_engine(double, instances=1)
    assert "another value of the option instances" in refusal("Conflict", lambda: loaded(file))


def test_a_module_whose_plans_file_was_changed_cannot_be_saved(
    portable: torch.jit.ScriptModule, double: Path
) -> None:
    double.write_bytes(double.read_bytes()[:-1])
    refusal("Conflict", lambda: saved(portable))


def test_a_module_outlives_the_shutdown_and_then_says_that_its_engine_is_gone(
    portable: torch.jit.ScriptModule,
) -> None:
    runtime_ext.shutdown()
    with pytest.raises(RuntimeError, match="there is no engine"):
        portable(X)


def test_the_end_of_a_module_from_before_a_shutdown_leaves_later_engines_alone(double: Path) -> None:
    engine = runtime_ext.load_engine(double)
    module = runtime_ext.wrap(engine, portable=True)
    runtime_ext.shutdown()
    assert runtime_ext.load_engine(double) == engine
    del module
    assert is_loaded(engine)


def test_a_program_may_end_while_its_modules_exist(portable: torch.jit.ScriptModule, tmp_path: Path) -> None:
    file = tmp_path / "portable.pt"
    portable.save(str(file))
    code = f"{LOAD_AND_RUN}\nimport builtins; builtins.kept = module"
    ended = run(code, str(file))
    assert (ended.returncode, ended.stderr) == (0, "")


# -- with a runtime


def test_a_runtime_writes_a_module_that_carries_its_engine(harness: Harness, double: Path) -> None:
    engine = harness.load_file(double, name="double")
    file = harness.folder / "double.pt"
    with file.open("wb") as written:
        harness.runtime.write_module(engine, str(double), written.fileno())
    assert "it is a runtime's" in refusal("Conflict", lambda: torch.jit.load(file))
    harness.runtime.close()
    assert torch.equal(torch.jit.load(file)(X), 2 * X)


def test_a_module_that_cannot_be_written_is_unavailable_and_the_engine_stays(
    harness: Harness, double: Path
) -> None:
    """torch's own writer ends the process if a write fails."""
    engine = harness.load_file(double)
    read, write = os.pipe()
    os.close(read)
    told = refusal("Unavailable", lambda: harness.runtime.write_module(engine, str(double), write))
    os.close(write)
    assert "the module's file cannot be written: Broken pipe" in told
    assert torch.equal(runtime_ext.wrap(engine)(X), 2 * X)


def test_an_engine_can_be_unloaded_while_its_module_is_written(
    harness: Harness, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    """A client that takes the file slowly holds up nothing."""
    plan = tmp_path / "large.onnx"
    plan.write_bytes(scaling(plan, 3.0).read_bytes() + b"\x32\x80\x80\x08" + bytes(0x20000))  # a doc_string
    engine = harness.load_file(plan)
    read, write = os.pipe()

    def write_all() -> None:
        harness.runtime.write_module(engine, str(plan), write)
        os.close(write)

    writing = run_in_thread(write_all)
    taken = os.read(read, 1000)  # it has begun, and waits for who takes the rest
    harness.runtime.unload(engine, 0.0)
    plan.unlink()
    with os.fdopen(read, "rb") as rest:
        taken += rest.read()
    writing.result()
    file = tmp_path / "module.pt"
    file.write_bytes(taken)
    harness.runtime.close()
    assert torch.equal(torch.jit.load(file)(X), 3 * X)
