"""`trtserve bench` and `trtserve top`, on a server with a fake engine."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, TensorSpec, error
from tests.unit.cli.running import trtserve

SHORT = ("--seconds", "0.1")


def test_an_engine_under_load_has_a_row_for_each_concurrency(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    result = trtserve("bench", "net", "--concurrency", "1,4", *SHORT, "--server", url)
    assert (result.exit_code, result.stderr) == (0, "")
    header, *rows = result.stdout.splitlines()
    assert header.split() == [
        "concurrency", "requests/s", "p50", "ms", "p95", "ms", "p99", "ms", "max", "ms", "errors",
    ]  # fmt: skip
    cells = [row.split() for row in rows]
    assert [(row[0], row[-1]) for row in cells] == [("1", "0"), ("4", "0")]
    for _, per_second, *times, _ in cells:
        assert float(per_second) > 0
        assert [float(each) for each in times] == sorted(float(each) for each in times)


def test_the_figures_can_be_json(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    result = trtserve("bench", "net", "--concurrency", "2", *SHORT, "--json", "--server", url)
    (found,) = json.loads(result.stdout)
    assert (found["concurrency"], found["errors"], found["error"]) == (2, {}, None)
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert found["requests_per_second"] == found["requests"] / found["seconds"] > 0


def test_an_engine_of_numbers_that_answers_with_strings_is_measured(
    url: str, plan: Path, runtime: FakeRuntime
) -> None:
    runtime.outputs = [TensorSpec("y", "BYTES", [-1])]
    runtime.compute = lambda inputs: [Output.of("y", "BYTES", [1], b"\1\0\0\0a")]
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    result = trtserve("bench", "net", "--concurrency", "2", *SHORT, "--json", "--server", url)
    (found,) = json.loads(result.stdout)
    assert found["errors"] == {}
    assert found["requests"] > 0


def test_requests_that_fail_are_told_and_set_the_exit_code(
    url: str, plan: Path, runtime: FakeRuntime
) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    compute = runtime.compute
    done = []

    def fail(inputs: object) -> object:
        done.append(inputs)
        if len(done) > 1:  # the first finds out whether the inputs are accepted
            raise error("ExecutionFailed", "the engine broke")
        return compute(inputs)  # type: ignore[arg-type]

    runtime.compute = fail  # type: ignore[assignment, method-assign]
    result = trtserve("bench", "net", "--concurrency", "1", *SHORT, "--server", url)
    assert result.exit_code == 1
    assert result.stderr.startswith("At concurrency 1: ")
    assert result.stderr.endswith(" × 500. The engine broke.\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nobody",), 1, "There is no engine 'nobody'"),
        (("net", "--shape", "z:1"), 1, "The engine has no input 'z'; its inputs are x."),
        (("net", "--shape", "x:1,-2"), 1, "is not an input's shape"),
        (("net", "--concurrency", "0"), 2, "'0' is not a number from 1 to 10000."),
        (("net", "--seconds", "nan"), 2, "'nan' is not a number above 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(
    url: str, plan: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    result = trtserve("bench", *words, "--server", url)
    assert result.exit_code == code
    assert told in result.stderr


# -- top


@pytest.fixture
def busy(url: str, plan: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server whose engine `net` gets three requests between two looks; another engine has none."""
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    other = plan.with_name("other.onnx")
    other.write_bytes(onnx_plan(2))
    trtserve("engines", "add", other, "--name", "idle", "--server", url)

    def pass_with_requests(_: float) -> None:
        for _ in range(3):
            trtserve("infer", "net", "--random", "--server", url)

    monkeypatch.setattr(time, "sleep", pass_with_requests)
    return url


def test_a_table_has_the_busiest_engine_first(busy: str) -> None:
    result = trtserve("top", "--once", "--server", busy)
    assert (result.exit_code, result.stderr) == (0, "")
    header, first, second = result.stdout.splitlines()
    assert header.split()[0] == "engine"
    assert first.split()[0] == "net"
    assert float(first.split()[2]) > 0
    assert second.split()[0] == "idle"
    assert second.split()[2:7] == ["0.0", "0.0", "-", "-", "-"]


def test_a_pipe_gets_one_table_and_programs_get_json(busy: str) -> None:
    assert trtserve("top", "--server", busy).stdout.splitlines()[1].split()[0] == "net"
    net, idle = json.loads(trtserve("top", "--json", "--server", busy).stdout)
    assert (net["name"], idle["name"]) == ("net", "idle")
    assert net["requests_per_second"] > idle["requests_per_second"] == 0
    assert net["p50_ms"] > 0
    assert net["instances"] > 0


def test_a_terminal_gets_a_table_that_changes_until_ctrl_c(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "trtserve", "top", "--interval", "0.05", "--server", url]
    shown = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        while shown.count(b"net") < 2:
            shown += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # EIO: nobody has the other end any more
            while piece := os.read(ours, 65_536):
                shown += piece
        assert process.wait() == 0
    os.close(ours)
    assert b"Ctrl-C ends" in shown
    assert b"Traceback" not in shown
