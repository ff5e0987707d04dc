"""Trial loads, with child processes that misbehave as a plan may make them.

Above 400 lines, because all of them, and the checks of batches at the end, need the host at the top.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime_ext.backends import TensorRtOptions
from tests.waiting import until
from trtserve.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable, Unsupported
from trtserve.options.engine_options import EngineOptions
from trtserve.options.for_runtime import for_runtime
from trtserve.plans.child import PlanCrashed
from trtserve.plans.trial import TOO_LONG, Checked, ProcessTrial, TrialHost, Trials
from trtserve.store.database import StoredEngine

pytestmark = pytest.mark.anyio

OPTIONS = EngineOptions(device="cuda:0", instances=4, max_queue_size=8, cuda_graphs="off", max_batch_size=1)
ENGINE = StoredEngine(7, "d", "tensorrt", "tensorrt", OPTIONS, 10, "2030-01-01")

HOST = """
import json, os, signal, sys
from pathlib import Path
from runtime_ext import trial
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):  # the test runner may have ignored these
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
def attempt(request, checking=None):
    scope = {"request": request, "checking": checking}
    scope |= {"json": json, "os": os, "signal": signal, "sys": sys, "Path": Path}
    exec(Path(request["plan"]).read_text(), scope)
    return scope.get("report", {"ok": True})
trial.attempt = attempt
trial.main()
"""
"""A host whose children run the statements in a plan and report `report`."""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def host() -> Iterator[TrialHost]:
    host = TrialHost(command=(sys.executable, "-c", HOST))
    yield host
    host.close()


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[str], Path]:
    """Write a plan that makes the child run these statements."""

    def written(statements: str) -> Path:
        file = tmp_path / "a.plan"
        file.write_text(statements)
        return file

    return written


def process_trial(
    host: TrialHost, timeout_s: float = 300.0, options: TensorRtOptions | None = None
) -> ProcessTrial:
    return ProcessTrial(options or TensorRtOptions(), timeout_s, host, ["tensorrt"])


@pytest.fixture
def trial(host: TrialHost) -> ProcessTrial:
    return process_trial(host)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_plan_that_loads_passes(trial: ProcessTrial, plan: Run) -> None:
    await trial(plan(""), ENGINE)


@pytest.mark.parametrize("allow_host_code", [False, True])
async def test_the_child_gets_the_plan_and_the_options(
    host: TrialHost, plan: Run, tmp_path: Path, allow_host_code: bool
) -> None:
    asked = tmp_path / "asked.json"
    options = TensorRtOptions((Path("/o/nv.so.8"), Path("/o/nv.so.11")), (Path("/p/a.so"),), allow_host_code)
    file = plan(f"Path({str(asked)!r}).write_text(json.dumps(request))")
    await process_trial(host, options=options)(file, ENGINE)
    assert json.loads(asked.read_text()) == {
        "plan": str(file),
        "backend": "tensorrt",
        "options": for_runtime(OPTIONS),
        "libraries": ["/o/nv.so.8", "/o/nv.so.11"],
        "plugins": ["/p/a.so"],
        "allow_host_code": allow_host_code,
    }


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("report = dict(kind='InvalidInput', message='bad magic')", InvalidInput),
        ("report = dict(kind='Unsupported', message='bad magic')", Unsupported),
        (
            "os.write(1, b'a library wrote this'); report = dict(kind='Unavailable', message='bad magic')",
            Unavailable,
        ),
    ],
)
async def test_an_error_reported_by_the_child_is_raised(
    trial: ProcessTrial, plan: Run, said: str, raised: type[TrtserveError]
) -> None:
    with pytest.raises(raised, match=r"^bad magic$") as failed:
        await trial(plan(said), ENGINE)
    assert failed.value.retry_after is None


async def test_a_shortage_reported_by_the_child_is_temporary(trial: ProcessTrial, plan: Run) -> None:
    with pytest.raises(Unavailable, match="no threads") as failed:
        await trial(plan("report = dict(kind='Unavailable', message='no threads', retry_after=2.5)"), ENGINE)
    assert failed.value.retry_after == 2.5


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGBUS"])
@pytest.mark.parametrize(("backend", "library"), [("tensorrt", "TensorRT"), ("openvino", "OpenVINO")])
async def test_a_plan_that_crashes_the_child_is_refused_with_the_signal(
    trial: ProcessTrial, plan: Run, number: str, backend: str, library: str
) -> None:
    engine = StoredEngine(7, "d", "f", backend, OPTIONS, 10, "2030-01-01")
    said = rf"crashed {library} .* \(signal {number}\): nothing was loaded"
    with pytest.raises(PlanCrashed, match=said) as failed:
        await trial(plan(f"os.kill(os.getpid(), signal.{number})"), engine)
    assert failed.value.kind == "InvalidInput"


async def test_a_child_that_crashes_after_its_report_counts_as_crashed(
    trial: ProcessTrial, plan: Run
) -> None:
    # It has already reported success.
    crash = "os._exit = lambda code: os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(PlanCrashed, match="SIGSEGV"):
        await trial(plan(crash), ENGINE)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
        ("terminate called: what(): Resource temporarily unavailable", "threads"),
        ("cannot open shared object file: Too many open files", "file descriptors"),
    ],
)
async def test_a_crash_from_a_shortage_does_not_blame_the_plan(
    trial: ProcessTrial, plan: Run, words: str, what: str
) -> None:
    with pytest.raises(Unavailable, match=f"ran out of {what}") as failed:
        await trial(plan(f"os.write(2, {words.encode()!r}); os.abort()"), ENGINE)
    assert failed.value.retry_after is not None


async def test_a_child_killed_by_the_system_does_not_blame_the_plan(trial: ProcessTrial, plan: Run) -> None:
    with pytest.raises(Unavailable, match=r"SIGKILL.*memory") as failed:
        await trial(plan("os.kill(os.getpid(), signal.SIGKILL)"), ENGINE)
    assert failed.value.retry_after is not None


@pytest.mark.parametrize("number", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"])
async def test_a_child_ended_from_outside_does_not_blame_the_plan(
    trial: ProcessTrial, plan: Run, number: str
) -> None:
    with pytest.raises(Unavailable, match=rf"ended from outside \(signal {number}\)") as failed:
        await trial(plan(f"os.kill(os.getpid(), signal.{number})"), ENGINE)
    assert failed.value.retry_after is not None


@pytest.mark.parametrize(
    ("statements", "code", "last"),
    [
        ("raise RuntimeError('what?')", 1, "RuntimeError: what?"),
        ("os._exit(3)", 3, "it said nothing"),
        ("os._exit(0)", 0, "it said nothing"),
        ("report = {'ok': 1}", 0, "it said nothing"),
        ("report = []", 0, "it said nothing"),
    ],
)
async def test_a_child_without_a_report_is_a_failure(
    trial: ProcessTrial, plan: Run, statements: str, code: int, last: str
) -> None:
    with pytest.raises(ExecutionFailed) as failed:
        await trial(plan(statements), ENGINE)
    assert f"(exit code {code}; {last})" in str(failed.value)


async def test_a_child_that_takes_too_long_is_ended(host: TrialHost, plan: Run) -> None:
    await process_trial(host)(plan(""), ENGINE)  # starts the host
    with pytest.raises(Unavailable, match=r"longer than 0\.01 s and was ended: nothing was loaded"):
        await process_trial(host, 0.01)(plan("signal.pause()"), ENGINE)


def hanging(begun: Path) -> str:
    """Statements that write the process ID to a file and never end."""
    return f"""
part = Path({str(begun)!r}).with_suffix(".part")
part.write_text(str(os.getpid()))
part.rename({str(begun)!r})
signal.pause()
"""


async def test_a_trial_that_is_cancelled_leaves_no_child(
    trial: ProcessTrial, plan: Run, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    trying = asyncio.create_task(trial(plan(hanging(begun)), ENGINE))
    await until(begun.exists)
    process = int(begun.read_text())
    assert is_there(process)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert not is_there(process)


async def test_trials_run_in_parallel(trial: ProcessTrial, plan: Run, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hangs = asyncio.create_task(trial(plan(hanging(begun)), ENGINE))
    await until(begun.exists)
    await trial(plan(""), ENGINE)
    assert not hangs.done()
    hangs.cancel()
    await asyncio.wait((hangs,))


async def test_the_children_end_with_the_host_and_their_trials_run_in_a_new_one(
    plan: Run, tmp_path: Path
) -> None:
    trial = process_trial(TrialHost(command=(sys.executable, "-c", HOST)))
    begun = tmp_path / "begun"
    hangs_at_first = f"""
if not Path({str(begun)!r}).exists():
    part = Path({str(begun)!r}).with_suffix(".part")
    part.write_text(f"{{os.getpid()}} {{os.getppid()}}")
    part.rename({str(begun)!r})
    signal.pause()
"""
    trying = asyncio.create_task(trial(plan(hangs_at_first), ENGINE))
    await until(begun.exists)
    child, parent = map(int, begun.read_text().split())
    os.kill(parent, signal.SIGKILL)
    await trying
    await until(lambda: not is_there(child))
    await trial.close()


async def test_a_plan_whose_trials_end_two_hosts_gets_no_third_trial(plan: Run, tmp_path: Path) -> None:
    trial = process_trial(TrialHost(command=(sys.executable, "-c", HOST)))
    tries = tmp_path / "tries"
    file = plan(
        f"Path({str(tries)!r}).open('a').write('.'); os.kill(os.getppid(), signal.SIGKILL); signal.pause()"
    )
    with pytest.raises(Unavailable, match="the process that they are forked from is gone") as failed:
        await trial(file, ENGINE)
    assert failed.value.retry_after is not None
    assert tries.read_text() == ".."
    await trial(plan(""), ENGINE)
    await trial.close()


async def test_closing_the_host_ends_its_children(plan: Run, tmp_path: Path) -> None:
    trial = process_trial(TrialHost(command=(sys.executable, "-c", HOST)))
    begun = tmp_path / "begun"
    trying = asyncio.create_task(trial(plan(hanging(begun)), ENGINE))
    await until(begun.exists)
    process = int(begun.read_text())
    await trial.close()
    with pytest.raises(Unavailable, match="the server is stopping"):
        await trying
    await until(lambda: not is_there(process))


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTERM])
async def test_a_host_that_hangs_or_is_gone_is_replaced(
    plan: Run, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    host = TrialHost(command=(sys.executable, "-c", HOST))
    trial = ProcessTrial(TensorRtOptions(), 300.0, host, ["tensorrt"], killed_within_s=0.1)
    with pytest.raises(InvalidInput) as refused:
        await trial(plan("report = dict(kind='InvalidInput', message=str(os.getppid()))"), ENGINE)
    process = int(str(refused.value))
    os.kill(process, number)
    if number == signal.SIGTERM:
        await until(lambda: Path(f"/proc/{process}/stat").read_text().split()[2] == "Z")
    else:
        with pytest.raises(Unavailable, match="took longer"):
            await ProcessTrial(TensorRtOptions(), 0.01, host, ["tensorrt"], 0.1)(plan(""), ENGINE)
    await trial(plan(""), ENGINE)
    assert not is_there(process)
    assert "never retrieved" not in caplog.text
    await trial.close()


async def test_a_trial_is_unavailable_if_the_host_cannot_start(plan: Run) -> None:
    trial = process_trial(TrialHost(command=("/nowhere/python",)))
    with pytest.raises(Unavailable, match="no trial load"):
        await trial(plan(""), ENGINE)


async def test_the_child_is_the_first_to_be_killed_when_memory_runs_out(
    trial: ProcessTrial, plan: Run
) -> None:
    score = "Path('/proc/self/oom_score_adj').read_text().strip()"
    file = plan(f"report = dict(kind='InvalidInput', message={score})")
    with pytest.raises(InvalidInput, match=r"^1000$"):
        await trial(file, ENGINE)


async def test_the_last_words_of_the_child_are_logged_for_debugging(
    trial: ProcessTrial, plan: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trtserve.plans.trial")
    await trial(plan("sys.stderr.write('x' * 1_000_000 + 'the end'); sys.stderr.flush()"), ENGINE)
    (message,) = caplog.messages
    assert message.endswith("x" * (2000 - len("the end")) + "the end")
    assert len(message) < 2300


# -- stopping


class FakeTrial:
    """A trial that runs until `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.ended = 0

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        self.running += 1
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
            self.ended += 1


async def test_stopping_ends_running_trials_and_refuses_new_ones() -> None:
    trial = FakeTrial()
    trials = Trials(trial)
    tasks = [asyncio.create_task(trials.run(Path("p"), ENGINE)) for _ in range(3)]
    await until(lambda: trial.running == 3)
    trials.stop()
    ends = await asyncio.gather(*tasks, trials.run(Path("p"), ENGINE), return_exceptions=True)
    assert [(type(end), str(end)) for end in ends] == [(Unavailable, "The server is stopping.")] * 4
    assert (trial.running, trial.ended) == (0, 3)


async def test_a_cancelled_caller_ends_the_trial() -> None:
    trial = FakeTrial()
    running = asyncio.create_task(Trials(trial).run(Path("p"), ENGINE))
    await until(lambda: trial.running == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert trial.running == 0


# -- the check of an engine's batches

OPEN = replace(ENGINE, options=EngineOptions(max_batch_size="auto"))


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ("", None),
        ("checking(); report = dict(ok=True, why_not_joined='')", Checked("")),
        ("checking(); report = dict(ok=True, why_not_joined='mixed')", Checked("mixed")),
        ("checking(); signal.raise_signal(signal.SIGALRM)", Checked(TOO_LONG)),
        (
            "checking(); signal.raise_signal(signal.SIGSEGV)",
            Checked("the process that checked its batches crashed (signal SIGSEGV)"),
        ),
        ("checking(); os._exit(3)", Checked("the process that checked its batches crashed (exit code 3)")),
        (
            "checking(); os.kill(os.getpid(), signal.SIGKILL)",
            Checked("the check of its batches was killed, as happens when memory runs out", lasting=False),
        ),
        (
            "checking(); os.kill(os.getpid(), signal.SIGTERM)",
            Checked("the check of its batches was ended from outside", lasting=False),
        ),
        (
            "checking(); os.write(2, b'std::bad_alloc'); os.abort()",
            Checked("the check of its batches ran out of memory or threads", lasting=False),
        ),
    ],
)
async def test_whatever_happens_in_a_check_the_plan_has_loaded(
    trial: ProcessTrial, plan: Run, statements: str, found: Checked | None
) -> None:
    assert await trial(plan(statements), OPEN) == found


async def test_a_check_that_outlasts_the_time_of_a_trial_ends_without_a_failure(
    host: TrialHost, plan: Run
) -> None:
    trial = process_trial(host, timeout_s=0.5)
    assert await trial(plan("checking(); signal.pause()"), OPEN) == Checked(TOO_LONG)


async def test_a_plan_that_crashes_after_its_check_is_refused(trial: ProcessTrial, plan: Run) -> None:
    crash = "checking(); os._exit = lambda code: os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(PlanCrashed, match="SIGSEGV"):
        await trial(plan(f"{crash}; report = dict(ok=True, why_not_joined='')"), OPEN)


async def test_an_engine_that_leaves_nothing_open_is_not_checked(trial: ProcessTrial, plan: Run) -> None:
    assert await trial(plan("assert checking is None"), ENGINE) is None
