"""The child process of a build, with a fake runtime."""

from pathlib import Path
from typing import Any

import pytest

from runtime_ext import building
from runtime_ext.backends import TensorRtOptions
from tests.fakes.runtime import FakeRuntime, error
from tests.fakes.values import BuildProgress

OPTIONS = {"device": "cuda:1", "precision": "f16", "max_batch_size": 8}


class Line:
    """A line of the runtime's log."""

    severity = "info"
    component = "tensorrt"

    def __init__(self, message: str) -> None:
        self.message = message


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """The fake runtime that the child creates."""
    runtime = FakeRuntime(backends=("tensorrt11",))
    runtime.builders = {"tensorrt11"}
    runtime.versions["tensorrt11"] = "11.1.0.106"
    monkeypatch.setattr(building, "create_runtime", lambda tensorrt: runtime)
    return runtime


@pytest.fixture
def request_(tmp_path: Path) -> building.Request:
    (tmp_path / "a.onnx").write_bytes(b"a model")
    return building.Request(
        backend="tensorrt11",
        model=str(tmp_path / "a.onnx"),
        plan=str(tmp_path / "a.plan"),
        options=dict(OPTIONS),
        libraries=[],
        plugins=[],
        allow_host_code=False,
        most_bytes=None,
    )


def test_the_plan_is_built_with_the_options_of_the_request(
    runtime: FakeRuntime, request_: building.Request, tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []
    assert building.attempt(request_, events.append) == {"ok": True, "target": "TensorRT 11.1.0.106"}
    ((backend, model, plan, options),) = runtime.builds
    assert (backend, model, plan) == ("tensorrt11", request_["model"], request_["plan"])
    assert {name: getattr(options, name) for name in OPTIONS} == OPTIONS
    assert (tmp_path / "a.plan").read_bytes() == b"plan of a model"
    assert events[0] == {"fraction": None, "phase": "starting", "log": ""}
    assert runtime.closed


def test_a_failure_is_reported_unchanged(runtime: FakeRuntime, request_: building.Request) -> None:
    runtime.build_error = error("Unsupported", "no operator of that name", 2.0)
    assert building.attempt(request_, lambda event: None) == {
        "kind": "Unsupported",
        "message": "no operator of that name",
        "retry_after": 2.0,
    }
    assert runtime.closed


def test_the_runtime_is_created_with_the_settings_of_the_request(
    monkeypatch: pytest.MonkeyPatch, request_: building.Request
) -> None:
    made: list[TensorRtOptions] = []

    def create_runtime(tensorrt: TensorRtOptions) -> FakeRuntime:
        made.append(tensorrt)
        return FakeRuntime(backends=("tensorrt11",))

    monkeypatch.setattr(building, "create_runtime", create_runtime)
    libraries = ["/opt/libnvinfer.so.8", "/opt/libnvinfer.so.11"]
    request_ |= {"libraries": libraries, "plugins": ["/p/a.so"], "allow_host_code": True}
    building.attempt(request_, lambda event: None)
    assert made == [TensorRtOptions(tuple(map(Path, libraries)), (Path("/p/a.so"),), True)]


def test_a_step_is_told_only_if_something_has_changed() -> None:
    progress = BuildProgress()
    events: list[dict[str, Any]] = []
    steps = building.Steps(progress, events.append)  # type: ignore[arg-type]
    steps.tell()
    steps.tell()
    progress.fraction, progress.phase = 0.25, "building the plan"
    steps.tell([Line("first"), Line("last")])  # type: ignore[list-item]
    steps.tell()
    assert events == [
        {"fraction": None, "phase": "starting", "log": ""},
        {"fraction": 0.25, "phase": "building the plan", "log": "last"},
    ]
