"""Tests of loading and unloading engines."""

from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread

DOUBLE = "input x FP32 -1 4\nprofile x 1 4 / 8 4\noutput y x 2"


def test_an_engine_reports_its_tensors(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE, name="double", instances=3, max_queue_size=9)
    info = harness.runtime.engine(engine)
    assert (info.id, info.name, info.backend, info.device) == (engine, "double", "toy", "cpu")
    assert (info.instances, info.max_queue_size) == (3, 9)
    (x,) = info.inputs
    assert (x.name, x.datatype, x.shape) == ("x", "FP32", [-1, 4])
    assert [(p.min, p.opt, p.max) for p in x.profiles] == [([1, 4], [1, 4], [8, 4])]
    assert [(y.name, y.datatype, y.shape) for y in info.outputs] == [("y", "FP32", [-1, 4])]
    assert [e.id for e in harness.runtime.engines()] == [engine]


def test_a_failed_load_says_why_and_leaves_nothing(harness: Harness, tmp_path: Path, gates: Gates) -> None:
    plan = tmp_path / "bad.plan"
    plan.write_text("toy 1\nnonsense\n")
    for _ in range(2):
        with pytest.raises(runtime_ext.Error, match="no line 'nonsense'") as refused:
            harness.runtime.load(7, str(plan), "toy", runtime_ext.LoadOptions())
        assert refused.value.kind == "InvalidInput"
    assert harness.runtime.engines() == []
    assert gates.contexts == 0


def test_a_resident_id_is_not_loaded_again(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_toy(DOUBLE)
    with pytest.raises(runtime_ext.Error, match="resident already") as refused:
        harness.runtime.load(engine, str(tmp_path / "1.plan"), "toy", runtime_ext.LoadOptions())
    assert refused.value.kind == "Conflict"


def test_one_of_many_loads_of_one_id_wins(
    harness: Harness, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    plan = tmp_path / "plan"
    plan.write_text(f"toy 1\n{DOUBLE}\n")
    loads = [
        run_in_thread(harness.runtime.load, 9, str(plan), "toy", runtime_ext.LoadOptions()) for _ in range(8)
    ]
    wait(loads)
    assert sorted(getattr(load.exception(), "kind", "loaded") for load in loads) == ["Conflict"] * 7 + [
        "loaded"
    ]


def test_an_unloaded_id_can_be_loaded_again(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_toy(DOUBLE)
    harness.runtime.unload(engine)
    harness.runtime.load(engine, str(tmp_path / f"{engine}.plan"), "toy", runtime_ext.LoadOptions())
    assert harness.infer(engine, x=np.ones((1, 4), np.float32))["y"].sum() == 8


def test_unloading_an_unknown_engine_is_not_found(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error) as refused:
        harness.runtime.unload(404)
    assert refused.value.kind == "NotFound"


def test_an_unknown_backend_is_unsupported(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error, match="no backend called abacus") as refused:
        harness.runtime.load(1, "/dev/null", "abacus", runtime_ext.LoadOptions())
    assert refused.value.kind == "Unsupported"


def test_a_plugin_that_cannot_be_opened_is_unavailable_with_the_loaders_reason(harness: Harness) -> None:
    harness.runtime.register_backend("missing", "/nonexistent/plugin.so")
    with pytest.raises(runtime_ext.Error, match="nonexistent") as refused:
        harness.runtime.backend_version("missing")
    assert refused.value.kind == "Unavailable"


def test_a_library_that_is_not_a_plugin_is_refused(harness: Harness) -> None:
    harness.runtime.register_backend("extension", runtime_ext._C.__file__)
    with pytest.raises(runtime_ext.Error, match="is not a trtserve backend"):
        harness.runtime.backend_version("extension")


def test_a_process_has_one_runtime_at_a_time(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error, match="has an engine manager already"):
        runtime_ext.Runtime()
    harness.runtime.close()
    runtime_ext.Runtime().close()


def test_a_closed_runtime_loads_nothing(harness: Harness) -> None:
    harness.runtime.close()
    with pytest.raises(runtime_ext.Error, match="closed") as refused:
        harness.load_toy(DOUBLE)
    assert refused.value.kind == "Unavailable"


def test_two_inputs_of_one_name_are_refused_at_the_load(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error, match="two inputs, or two outputs, called 'x'"):
        harness.load_toy("input x FP32 1\ninput x FP32 1\noutput y x 1")


def test_a_name_that_is_not_utf8_is_refused_at_the_load(harness: Harness, tmp_path: Path) -> None:
    plan = tmp_path / "latin1.plan"
    plan.write_bytes("toy 1\ninput é FP32 1\noutput y é 1\n".encode("latin-1"))
    with pytest.raises(runtime_ext.Error, match="not UTF-8"):
        harness.runtime.load(3, str(plan), "toy", runtime_ext.LoadOptions())
