"""The process of a trial load itself, with a fake runtime in it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from runtime_ext import trial
from runtime_ext.backends import TensorRtOptions
from service.errors import ExecutionFailed, InvalidInput
from service.metadata import StoredEngine
from service.trial import ProcessTrial
from tests.fakes.engines import UNBATCHED
from tests.fakes.runtime import FakeRuntime, error

pytestmark = pytest.mark.anyio

ENGINE = StoredEngine(
    7, "d", "tensorrt", "tensorrt", "cuda:0", 4, 8, "f32", "off", 10, "2030-01-01", **UNBATCHED
)

CHILD = """
import os, signal
from runtime_ext import trial
from tests.fakes.runtime import FakeRuntime, error
class Runtime(FakeRuntime):
    def load(self, *load):
        os.write(1, b"a library speaks\\n")
        {load}
        return super().load(*load)
trial.create_runtime = lambda tensorrt: Runtime()
trial.main()
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    plan = tmp_path / "a.plan"
    plan.write_bytes(b"ftrt")
    return plan


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """What the trial makes in place of a runtime."""
    runtime = FakeRuntime(backends=("tensorrt",))
    monkeypatch.setattr(trial, "create_runtime", lambda tensorrt: runtime)
    return runtime


def request(plan: Path) -> trial.Request:
    return trial.Request(
        plan=str(plan), device="cuda:1", cuda_graphs="on", library=None, plugins=[], allow_host_code=False
    )


def command(load: str) -> list[str]:
    return [sys.executable, "-c", CHILD.format(load=load)]


def test_a_plan_is_loaded_as_one_instance_and_unloaded(runtime: FakeRuntime, plan: Path) -> None:
    assert trial.attempt(request(plan)) == {"ok": True}
    ((_, path, backend, options),) = runtime.loads
    assert (path, backend) == (str(plan), "tensorrt")
    assert (options.instances, options.device, options.cuda_graphs) == (1, "cuda:1", "on")
    assert runtime.engines() == []
    assert runtime.closed


def test_a_failure_is_reported_as_it_was_raised(runtime: FakeRuntime, plan: Path) -> None:
    runtime.load_error = error("Unsupported", "no plugin of that name")
    assert trial.attempt(request(plan)) == {"kind": "Unsupported", "message": "no plugin of that name"}


def test_the_runtime_is_made_with_the_options_of_the_request(
    monkeypatch: pytest.MonkeyPatch, plan: Path
) -> None:
    made: list[TensorRtOptions] = []

    def create_runtime(tensorrt: TensorRtOptions) -> FakeRuntime:
        made.append(tensorrt)
        return FakeRuntime(backends=("tensorrt",))

    monkeypatch.setattr(trial, "create_runtime", create_runtime)
    asked = request(plan) | {"library": "/opt/nv.so", "plugins": ["/p/a.so"], "allow_host_code": True}
    assert trial.attempt(trial.Request(**asked)) == {"ok": True}
    assert made == [TensorRtOptions(Path("/opt/nv.so"), (Path("/p/a.so"),), True)]


async def test_what_a_library_prints_does_not_spoil_the_report(plan: Path) -> None:
    unfinished = "os.write(1, b'without an end of line')"
    await ProcessTrial(TensorRtOptions(), 300.0, command(unfinished))(plan, ENGINE)
    with pytest.raises(InvalidInput, match=r"^bad plan$"):
        await ProcessTrial(TensorRtOptions(), 300.0, command("raise error('InvalidInput', 'bad plan')"))(
            plan, ENGINE
        )


async def test_what_is_no_error_of_the_runtime_is_told_with_its_last_line(plan: Path) -> None:
    with pytest.raises(ExecutionFailed, match=r"exit code 1; RuntimeError: what\?"):
        await ProcessTrial(TensorRtOptions(), 300.0, command("raise RuntimeError('what?')"))(plan, ENGINE)


async def test_it_ends_with_the_process_that_asked(plan: Path) -> None:
    child = await asyncio.create_subprocess_exec(*command("signal.pause()"), stdin=PIPE, stderr=PIPE)
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(json.dumps(request(plan)).encode() + b"\n")
    while await child.stderr.readline() not in {b"a library speaks\n", b""}:
        pass
    child.stdin.close()
    assert await child.wait() == 1
