"""The child process of a build, as a process, with the fake SDK."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import tensorrt as sdk
from tests.waiting import wait_until

DOUBLE = "input x FP32 -1 4\noutput y scale x 2"
CHILD = f"""
import os
from runtime_ext import Runtime, building
from runtime_ext.backends import plugin_path
from tests.fakes import device
def create_runtime(tensorrt):
    device.load()
    os.write(1, b"a library prints this")
    runtime = Runtime()
    runtime.register_backend(
        "tensorrt11", str(plugin_path("tensorrt_fake")), config={{"libraries": {str(sdk.V11.library)!r}}}
    )
    return runtime
building.create_runtime = create_runtime
building.main()
"""
"""A child whose backend `tensorrt11` is the fake."""

SANITIZERS = ("ASAN_OPTIONS", "TSAN_OPTIONS")
"""A sanitizer makes an exit of a crash, unless it is told not to handle the signal."""


class Child:
    """A build in a process of its own."""

    def __init__(self, folder: Path, text: str, most_bytes: int | None = None, **options: object) -> None:
        model = folder / "a.onnx"
        model.write_bytes(sdk.toy_model(text))
        self.plan = folder / "a.plan"
        request = {
            "backend": "tensorrt11",
            "model": str(model),
            "plan": str(self.plan),
            "options": options,
            "libraries": [],
            "plugins": [],
            "allow_host_code": False,
            "most_bytes": most_bytes,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[4],
            env=os.environ | {name: f"{os.environ.get(name, '')}:handle_segv=0" for name in SANITIZERS},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.close()

    def next_event(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        return event

    def events(self) -> list[dict[str, Any]]:
        """The events until the end."""
        assert self.process.stdout is not None
        events = [json.loads(line) for line in self.process.stdout]
        self.process.wait()
        return events

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def begun() -> Iterator[list[Child]]:
    """The children of a test, which end with it."""
    children: list[Child] = []
    yield children
    for child in children:
        child.end()


def test_a_build_tells_its_steps_and_ends_with_its_target(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, DOUBLE, max_batch_size=8))
    *steps, last = child.events()
    assert last == {"ok": True, "target": "TensorRT 11.1.0.106"}
    assert steps[0] == {"fraction": None, "phase": "starting", "log": ""}
    assert (steps[-1]["fraction"], steps[-1]["phase"]) == (1.0, "writing the plan")
    assert child.process.returncode == 0
    assert child.plan.read_bytes().startswith(b"ftrt")


def test_what_libraries_print_is_no_event(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, DOUBLE))
    child.events()
    assert child.process.stderr is not None
    assert b"a library prints this" in child.process.stderr.read()


def test_a_failure_is_the_last_event(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, f"{DOUBLE}\noperator Foo node foo_3"))
    last = child.events()[-1]
    assert (last["kind"], last["retry_after"]) == ("Unsupported", None)
    assert "the operator Foo of node 'foo_3'" in last["message"]
    assert not child.plan.exists()


def test_a_plan_that_is_too_large_is_not_written(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, DOUBLE, most_bytes=50))
    assert child.events()[-1]["kind"] == "TooLarge"
    assert not child.plan.exists()


def test_a_crash_ends_only_the_child(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, f"{DOUBLE}\nbuild_crash"))
    assert all("ok" not in event and "kind" not in event for event in child.events())
    assert child.process.returncode == -signal.SIGSEGV
    assert not child.plan.exists()


def test_killing_the_child_cancels_the_build(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, f"{DOUBLE}\nbuild_phases 4\nbuild_gate never"))
    while child.next_event()["fraction"] != 0.5:
        pass
    child.process.kill()
    assert child.events() == []
    assert not child.plan.exists()


def test_the_child_is_the_first_to_be_killed_and_leaves_no_core(tmp_path: Path, begun: list[Child]) -> None:
    begun.append(child := Child(tmp_path, f"{DOUBLE}\nbuild_gate never"))
    child.next_event()
    of = Path("/proc", str(child.process.pid))
    assert (of / "oom_score_adj").read_text().strip() == "1000"
    cores = next(line for line in (of / "limits").read_text().splitlines() if "core file" in line)
    assert cores.split()[4] == "0"


def test_the_child_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = (
        "import sys; from pathlib import Path\n"
        "from tests.seam.backends.tensorrt.test_build_process import DOUBLE, Child\n"
        "child = Child(Path(sys.argv[1]), DOUBLE + '\\nbuild_gate never')\n"
        "child.next_event()\n"
        "print(child.process.pid, flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", starter, str(tmp_path)],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[4],
    )
    child = int(ended.stdout)

    def is_gone() -> bool:
        try:
            state = Path("/proc", str(child), "stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"

    try:
        wait_until(is_gone, "the child's end")
    finally:
        if not is_gone():
            os.kill(child, signal.SIGKILL)
