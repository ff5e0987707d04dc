"""Tests that loads and unloads of real plans leave no memory behind; `-s` shows measurements."""

from pathlib import Path

import pytest

import runtime_ext
from tests.gpu.effort import CYCLES
from tests.gpu.memory import DEVICE_GROWTH_BYTES, check_flat
from tests.gpu.models import named
from tests.gpu.real import RealTensorRt
from tests.gpu.trials import TrialHost

pytestmark = pytest.mark.gpu
SETTLE = 10  # loads until every pool and cache has its size


@pytest.mark.parametrize("name", ["mlp_2_profiles_f32", "nonzero", "cnn_f16"])
def test_loads_and_unloads_leave_no_memory_behind(real: RealTensorRt, name: str) -> None:
    """Each engine captures graphs, and is used in every way, before it is unloaded."""
    model = named(name)

    def cycle() -> None:
        engine = real.load_model(model, instances=2, cuda_graphs="on")
        for case in model.cases[:3]:
            for use in (real.eager, real.eager, real.scripted, real.queued):
                model.agrees(use(engine, case), case)
        real.runtime.unload(engine, 10.0)

    check_flat(cycle, CYCLES, SETTLE, DEVICE_GROWTH_BYTES)


def test_plans_that_cannot_be_read_leave_no_memory_behind(real: RealTensorRt, tmp_path: Path) -> None:
    """A trial load says first which of the damaged plans are refused, and do not end the process."""
    plan = real.plan(named("mlp_f32")).read_bytes()
    files = []
    for i, damaged in enumerate((plan[:4] + b"\xa5" * 4096, plan[:40], plan[: len(plan) // 2], plan[:-1])):
        files.append(tmp_path / f"damaged{i}.plan")
        files[-1].write_bytes(damaged)
    with TrialHost() as host:
        refused = [file for file in files if host.load(file, real.backend) == "InvalidInput"]
    print(f"\nrefused: {[file.name for file in refused]}")
    assert refused

    def fail() -> None:
        for file in refused:
            with pytest.raises(runtime_ext.Error) as failure:
                real.load_file(file, real.backend)
            assert failure.value.kind == "InvalidInput"

    check_flat(fail, CYCLES, SETTLE, DEVICE_GROWTH_BYTES)


def test_engines_that_are_refused_after_they_were_read_leave_no_memory_behind(real: RealTensorRt) -> None:
    """The plan is read, and then the batch options do not suit it."""
    plan = real.plan(named("mlp_f32"))
    batch = runtime_ext.BatchOptions(max_batch_size=4, batch_dims={"z": 0})

    def fail() -> None:
        with pytest.raises(runtime_ext.Error, match="'z', which is not a tensor of the engine"):
            real.load_file(plan, real.backend, instances=2, batch=batch)

    check_flat(fail, CYCLES, SETTLE, DEVICE_GROWTH_BYTES)
