"""Trial loads, with children that do what a plan may make them do."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime_ext.backends import TensorRtOptions
from service.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable, Unsupported
from service.metadata import StoredEngine
from service.trial import ProcessTrial, TrialLoads
from tests.fakes.engines import UNBATCHED
from tests.waiting import until

pytestmark = pytest.mark.anyio

ENGINE = StoredEngine(
    7, "d", "tensorrt", "tensorrt", "cuda:0", 4, 8, "f32", "off", 10, "2030-01-01", **UNBATCHED
)

CHILD = """
import json, os, signal, sys
from pathlib import Path
request = json.loads(sys.stdin.readline())
def report(**said):
    print(json.dumps(said), flush=True)
"""

Run = Callable[..., Any]


@pytest.fixture
def child(tmp_path: Path) -> Callable[..., ProcessTrial]:
    """A trial whose child runs the given statements once it has read the request."""

    def trial(statements: str, timeout_s: float = 300.0, **options: Any) -> ProcessTrial:
        file = tmp_path / "child.py"
        file.write_text(CHILD + statements)
        return ProcessTrial(TensorRtOptions(**options), timeout_s, (sys.executable, str(file)))

    return trial


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_plan_that_loads_passes(child: Run, tmp_path: Path) -> None:
    await child("report(ok=True)")(tmp_path / "a.plan", ENGINE)


@pytest.mark.parametrize("allow_host_code", [False, True])
async def test_the_child_is_told_the_plan_and_the_options(
    child: Run, tmp_path: Path, allow_host_code: bool
) -> None:
    asked = tmp_path / "asked.json"
    trial = child(
        f"Path({str(asked)!r}).write_text(json.dumps(request)); report(ok=True)",
        library=Path("/opt/libnvinfer.so.11"),
        plugins=(Path("/p/a.so"),),
        allow_host_code=allow_host_code,
    )
    await trial(tmp_path / "a.plan", ENGINE)
    assert json.loads(asked.read_text()) == {
        "plan": str(tmp_path / "a.plan"),
        "device": "cuda:0",
        "cuda_graphs": "off",
        "library": "/opt/libnvinfer.so.11",
        "plugins": ["/p/a.so"],
        "allow_host_code": allow_host_code,
    }


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("report(kind='InvalidInput', message='bad magic')", InvalidInput),
        ("report(kind='Unsupported', message='bad magic')", Unsupported),
        ("print('a library wrote this'); report(kind='Unavailable', message='bad magic')", Unavailable),
    ],
)
async def test_what_the_child_reports_is_raised(
    child: Run, tmp_path: Path, said: str, raised: type[TrtserveError]
) -> None:
    with pytest.raises(raised, match=r"^bad magic$"):
        await child(said)(tmp_path / "a.plan", ENGINE)


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGBUS"])
async def test_a_plan_that_crashes_the_child_is_refused_with_the_signal(
    child: Run, tmp_path: Path, number: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"crashed TensorRT .* \(signal {number}\): nothing was loaded"):
        await child(f"os.kill(os.getpid(), signal.{number})")(tmp_path / "a.plan", ENGINE)


async def test_a_child_that_crashes_after_its_report_has_crashed(child: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="SIGSEGV"):
        await child("report(ok=True); os.kill(os.getpid(), signal.SIGSEGV)")(tmp_path / "a.plan", ENGINE)


async def test_a_child_that_the_system_killed_says_nothing_about_the_plan(child: Run, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"SIGKILL.*memory"):
        await child("os.kill(os.getpid(), signal.SIGKILL)")(tmp_path / "a.plan", ENGINE)


@pytest.mark.parametrize(
    ("statements", "code", "last"),
    [
        ("raise MemoryError('no memory')", 1, "MemoryError: no memory"),
        ("sys.exit(3)", 3, "it said nothing"),
        ("print('{\"ok\": 1}')", 0, "it said nothing"),
        ("print('[' * 50_000)", 0, "it said nothing"),
        ("", 0, "it said nothing"),
    ],
)
async def test_a_child_without_a_report_is_a_failure(
    child: Run, tmp_path: Path, statements: str, code: int, last: str
) -> None:
    with pytest.raises(ExecutionFailed) as failed:
        await child(statements)(tmp_path / "a.plan", ENGINE)
    assert f"(exit code {code}; {last})" in str(failed.value)


async def test_a_child_that_does_not_read_its_request_is_a_failure(tmp_path: Path) -> None:
    trial = ProcessTrial(TensorRtOptions(), 300.0, (sys.executable, "-c", "raise SystemExit(4)"))
    with pytest.raises(ExecutionFailed, match="exit code 4"):
        await trial(tmp_path / ("x" * 10_000_000), ENGINE)


async def test_a_child_that_takes_too_long_is_ended(child: Run, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"longer than 0\.01 s and was ended: nothing was loaded"):
        await child("signal.pause()", timeout_s=0.01)(tmp_path / "a.plan", ENGINE)


async def test_a_trial_that_is_cancelled_leaves_no_child(child: Run, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hang = f"""
begun = Path({str(begun)!r})
begun.with_suffix(".part").write_text(str(os.getpid()))
begun.with_suffix(".part").rename(begun)
signal.pause()
"""
    trying = asyncio.create_task(child(hang)(tmp_path / "a.plan", ENGINE))
    await until(begun.exists)
    process = int(begun.read_text())
    assert is_there(process)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert not is_there(process)


async def test_the_last_words_of_the_child_are_logged_for_debugging(
    child: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "service.trial")
    await child("sys.stderr.write('x' * 1_000_000 + 'the end'); report(ok=True)")(tmp_path / "p", ENGINE)
    (message,) = caplog.messages
    assert message.endswith("x" * (2000 - len("the end")) + "the end")
    assert len(message) < 2100


# -- so many at once, until the end


class Trials:
    """A trial that goes on until `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.most = 0
        self.ended = 0

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
            self.ended += 1


async def test_no_more_trials_run_at_once_than_allowed() -> None:
    trial = Trials()
    loads = TrialLoads(trial, at_once=2)
    tasks = [asyncio.create_task(loads.run(Path("p"), ENGINE)) for _ in range(5)]
    await until(lambda: trial.running == 2)
    trial.gate.set()
    await asyncio.gather(*tasks)
    assert (trial.most, trial.ended) == (2, 5)


async def test_stopping_ends_what_runs_and_refuses_what_waits() -> None:
    trial = Trials()
    loads = TrialLoads(trial, at_once=1)
    tasks = [asyncio.create_task(loads.run(Path("p"), ENGINE)) for _ in range(3)]
    await until(lambda: trial.running == 1)
    loads.stop()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(end), str(end)) for end in ends] == [(Unavailable, "The server is stopping.")] * 3
    assert (trial.running, trial.ended) == (0, 1)


async def test_a_caller_who_is_cancelled_ends_the_trial() -> None:
    trial = Trials()
    loads = TrialLoads(trial, at_once=1)
    running = asyncio.create_task(loads.run(Path("p"), ENGINE))
    await until(lambda: trial.running == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert trial.running == 0
    trial.gate.set()
    await loads.run(Path("p"), ENGINE)  # its place is free again
