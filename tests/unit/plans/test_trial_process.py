"""The child process of a trial, with a fake runtime."""

from pathlib import Path

import pytest

from runtime_ext import trial
from runtime_ext.backends import TensorRtOptions
from tests.fakes.runtime import FakeRuntime, error


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    plan = tmp_path / "a.plan"
    plan.write_bytes(b"ftrt")
    return plan


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """The fake runtime that the trial creates."""
    runtime = FakeRuntime(backends=("tensorrt",))
    monkeypatch.setattr(trial, "create_runtime", lambda tensorrt: runtime)
    return runtime


def request(plan: Path) -> trial.Request:
    return trial.Request(
        plan=str(plan),
        backend="tensorrt",
        options={"device": "cuda:1", "precision": "bf16", "cuda_graphs": "on", "instances": 4},
        libraries=[],
        plugins=[],
        allow_host_code=False,
    )


def test_a_plan_is_loaded_as_one_instance_and_unloaded(runtime: FakeRuntime, plan: Path) -> None:
    assert trial.attempt(request(plan)) == {"ok": True}
    ((_, path, backend, options),) = runtime.loads
    assert (path, backend) == (str(plan), "tensorrt")
    assert (options.instances, options.device, options.cuda_graphs) == (1, "cuda:1", "on")
    assert options.precision == "bf16"
    assert runtime.engines() == []
    assert runtime.closed


def test_a_failure_is_reported_unchanged(runtime: FakeRuntime, plan: Path) -> None:
    runtime.load_error = error("Unsupported", "no plugin of that name", 2.0)
    assert trial.attempt(request(plan)) == {
        "kind": "Unsupported",
        "message": "no plugin of that name",
        "retry_after": 2.0,
    }


def test_the_runtime_is_created_with_the_options_of_the_request(
    monkeypatch: pytest.MonkeyPatch, plan: Path
) -> None:
    made: list[TensorRtOptions] = []

    def create_runtime(tensorrt: TensorRtOptions) -> FakeRuntime:
        made.append(tensorrt)
        return FakeRuntime(backends=("tensorrt",))

    monkeypatch.setattr(trial, "create_runtime", create_runtime)
    asked = request(plan) | {
        "libraries": ["/o/nv.so.8", "/o/nv.so.11"],
        "plugins": ["/p/a.so"],
        "allow_host_code": True,
    }
    assert trial.attempt(trial.Request(**asked)) == {"ok": True}
    assert made == [TensorRtOptions((Path("/o/nv.so.8"), Path("/o/nv.so.11")), (Path("/p/a.so"),), True)]
