"""Builds in child processes that misbehave as a model may make them."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime_ext.backends import TensorRtOptions
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import until
from trtserve.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable, Unsupported
from trtserve.plans.build import Job, ProcessBuild, Step, choose_builder
from trtserve.plans.child import PlanCrashed

pytestmark = pytest.mark.anyio

CHILD = """
import json, os, signal, sys
from pathlib import Path
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):  # the test runner may have ignored these
    signal.signal(number, signal.SIG_DFL)
request = json.loads(sys.stdin.readline())
def tell(**event):
    sys.stdout.write(json.dumps(event) + "\\n")
    sys.stdout.flush()
exec(Path(request["model"]).read_text())
"""
"""A child that runs the statements in its model."""

COMMAND = (sys.executable, "-c", CHILD)
DONE = "Path(request['plan']).write_bytes(b'plan'); tell(ok=True, target='TensorRT 8.5.3, H100')"
Make = Callable[..., Job]


@pytest.fixture
def job(tmp_path: Path) -> Make:
    """Make a job whose child runs these statements."""

    def made(statements: str, **options: Any) -> Job:
        model = tmp_path / "model.onnx"
        model.write_text(statements)
        return Job("tensorrt8", model, tmp_path / "a.plan", options)

    return made


def process_build(timeout_s: float | None = 300.0, tensorrt: TensorRtOptions | None = None) -> ProcessBuild:
    return ProcessBuild(tensorrt or TensorRtOptions(), timeout_s, COMMAND)


def ignore(step: Step) -> None:
    """Hear of a step and do nothing."""


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_build_returns_what_the_plan_was_built_for_and_tells_its_steps(job: Make) -> None:
    steps: list[Step] = []
    statements = f"""
tell(fraction=None, phase="parsing", log="")
tell(fraction=0.25, phase="tuning", log="Tactic 7 of 9")
tell(fraction=7, phase="odd", log="{"x" * 500}")
sys.stdout.write("not JSON\\n" + "x" * 3_000_000 + "\\n")
{DONE}
"""
    built = job(statements)
    assert await process_build()(built, steps.append) == "TensorRT 8.5.3, H100"
    assert built.plan.read_bytes() == b"plan"
    assert steps[:2] == [Step(None, "parsing", ""), Step(0.25, "tuning", "Tactic 7 of 9")]
    assert steps[2].fraction is None
    assert len(steps[2].log) < 200


async def test_the_child_gets_the_job_and_the_libraries(job: Make, tmp_path: Path) -> None:
    asked = tmp_path / "asked.json"
    tensorrt = TensorRtOptions((Path("/opt/libnvinfer.so.8"),), (Path("/p/a.so"),), True)
    built = job(f"Path({str(asked)!r}).write_text(json.dumps(request)); {DONE}", precision="f16")
    await process_build(tensorrt=tensorrt)(built, ignore)
    assert json.loads(asked.read_text()) == {
        "backend": "tensorrt8",
        "model": str(built.model),
        "plan": str(built.plan),
        "options": {"precision": "f16"},
        "libraries": ["/opt/libnvinfer.so.8"],
        "plugins": ["/p/a.so"],
        "allow_host_code": True,
        "most_bytes": None,
    }


@pytest.mark.parametrize(("kind", "raised"), [("InvalidInput", InvalidInput), ("Unsupported", Unsupported)])
async def test_an_error_reported_by_the_child_is_raised_without_paths(
    job: Make, kind: str, raised: type[TrtserveError]
) -> None:
    said = f"tell(kind={kind!r}, message='cannot parse ' + request['model'] + ' at node 3')"
    failing = job(f"Path(request['plan']).write_bytes(b'half'); {said}")
    with pytest.raises(raised, match=r"^Cannot parse the model at node 3\.$"):
        await process_build()(failing, ignore)
    assert not failing.plan.exists()


async def test_the_steps_have_no_paths(job: Make) -> None:
    steps: list[Step] = []
    await process_build()(
        job(f"tell(phase='reads ' + request['model'], log=request['plan']); {DONE}"), steps.append
    )
    assert steps == [Step(None, "reads the model", "the plan")]


async def test_a_model_that_crashes_the_child_is_refused_with_the_signal(job: Make) -> None:
    crash = "Path(request['plan']).write_bytes(b'half'); os.kill(os.getpid(), signal.SIGSEGV)"
    failing = job(crash)
    with pytest.raises(PlanCrashed, match=r"crashed TensorRT while .* \(signal SIGSEGV\): nothing was built"):
        await process_build()(failing, ignore)
    assert not failing.plan.exists()


async def test_a_child_that_crashes_after_its_report_counts_as_crashed(job: Make) -> None:
    with pytest.raises(PlanCrashed, match="SIGABRT"):
        await process_build()(job(f"{DONE}; os.abort()"), ignore)


async def test_a_crash_from_a_shortage_does_not_blame_the_model(job: Make) -> None:
    with pytest.raises(Unavailable, match="ran out of memory") as failed:
        await process_build()(job("os.write(2, b'std::bad_alloc'); os.abort()"), ignore)
    assert failed.value.retry_after is not None


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
async def test_a_child_that_is_killed_from_outside_does_not_blame_the_model(job: Make, number: str) -> None:
    with pytest.raises(Unavailable, match=rf"{number}.*nothing was built") as failed:
        await process_build()(job(f"os.kill(os.getpid(), signal.{number})"), ignore)
    assert failed.value.retry_after is not None


@pytest.mark.parametrize("statements", ["raise RuntimeError('what?')", "os._exit(0)", "tell(ok=1)"])
async def test_a_child_without_a_report_is_a_failure(job: Make, statements: str) -> None:
    with pytest.raises(ExecutionFailed, match=r"ended without a report .*nothing was built"):
        await process_build()(job(statements), ignore)


async def test_a_command_that_cannot_be_started_is_unavailable(job: Make) -> None:
    with pytest.raises(Unavailable, match="could not be started"):
        await ProcessBuild(TensorRtOptions(), None, ("/no/such/command",))(job(""), ignore)


def hanging(begun: Path) -> str:
    """Statements that write a part of the plan, tell a process ID and never end."""
    return f"""
Path(request["plan"]).write_bytes(b"half")
part = Path({str(begun)!r}).with_suffix(".part")
part.write_text(str(os.getpid()))
part.rename({str(begun)!r})
signal.pause()
"""


async def test_a_build_that_takes_too_long_is_ended_and_leaves_nothing(job: Make, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = job(hanging(begun))
    with pytest.raises(Unavailable, match=r"longer than 0\.5 s and was ended.*--build-timeout-s") as failed:
        await process_build(0.5)(slow, ignore)
    assert failed.value.retry_after is None
    assert not slow.plan.exists()


async def test_a_build_that_is_cancelled_leaves_no_child_and_no_file(job: Make, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = job(hanging(begun))
    building = asyncio.create_task(process_build()(slow, ignore))
    await until(begun.exists)
    process = int(begun.read_text())
    assert is_there(process)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert not is_there(process)
    assert not slow.plan.exists()


FLOOD = """
def flood():
    os.write({descriptor}, b'{{"phase": "tuning", "log": "again"}}\\n' * 1000)
for _ in range(59):  # almost all that a stream and a pipe keep
    flood()
Path(request["plan"]).write_bytes(b"half")
while True:
    flood()
"""


@pytest.mark.parametrize("descriptor", [1, 2])
async def test_a_child_that_prints_without_end_is_heard_now_and_then_and_can_be_ended(
    job: Make, descriptor: int, caplog: pytest.LogCaptureFixture
) -> None:
    flooding = job(FLOOD.format(descriptor=descriptor))
    building = asyncio.create_task(process_build()(flooding, ignore))
    await until(flooding.plan.exists)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert not flooding.plan.exists()
    assert "does not end" not in caplog.text


async def test_between_two_events_of_a_child_the_server_does_its_other_work(job: Make) -> None:
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    seen: list[int] = []
    events = "".join(f"tell(phase='{n}', log='');" for n in range(20))
    working = asyncio.create_task(other_work())
    await process_build()(job(events + DONE), lambda step: seen.append(turns))
    working.cancel()
    assert len(set(seen)) == len(seen) == 20


# -- who builds


def runtime(*backends: str, builders: set[str] | None = None) -> FakeRuntime:
    runtime = FakeRuntime(backends)
    runtime.builders = builders or set()
    return runtime


def test_the_newest_generation_that_builds_is_chosen() -> None:
    every = ("openvino", "tensorrt8", "tensorrt10", "tensorrt11")
    assert choose_builder(runtime(*every, builders={"tensorrt8", "tensorrt10"})) == "tensorrt10"
    assert choose_builder(runtime(*every, builders={"tensorrt8", "tensorrt11"})) == "tensorrt11"


def test_without_a_tensorrt_backend_nothing_is_built() -> None:
    with pytest.raises(Unsupported, match="no tensorrt backend to build a plan with"):
        choose_builder(runtime("openvino"))


def test_without_a_builder_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    none = runtime("openvino", "tensorrt11", "tensorrt8")

    def builds(backend: str) -> bool:
        if backend == "tensorrt11":
            raise error("Unavailable", "libnvinfer.so.11 cannot be opened")
        return False

    monkeypatch.setattr(none, "backend_builds", builds)
    with pytest.raises(Unsupported, match="libnvonnxparser") as refused:
        choose_builder(none)
    assert "Libnvinfer.so.11 cannot be opened." in str(refused.value)
