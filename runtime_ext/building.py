"""Builds one plan in a process of its own: `python -P -m runtime_ext.building`.

Whatever a model does to the library, only this process ends; killing it cancels the build. It reads one line
of JSON from standard input, the request, and writes lines of JSON to standard output, the events:
{"fraction": …, "phase": …, "log": …} whenever one of these has changed, at most five times a second; and at
the end {"ok": true, "target": …}, or {"kind": …, "message": …, "retry_after": …} as the runtime raised it.
Whatever libraries print goes to standard error. It ends with the process that started it.
"""

import json
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from runtime_ext import BuildOptions, BuildProgress, Error, LogRecord, Runtime, take_log
from runtime_ext.backends import TensorRtOptions, create_runtime
from runtime_ext.child import bind_to

EVENTS_EVERY_S = 0.2


class Request(TypedDict):
    """The model, where its plan is written, and the runtime's settings; see BuildOptions and
    TensorRtOptions."""

    backend: str  # "": the newest TensorRT that builds
    model: str
    plan: str
    options: dict[str, Any]
    libraries: list[str]
    plugins: list[str]
    allow_host_code: bool
    most_bytes: int | None  # of each file that the build writes; None: no limit


Emit = Callable[[dict[str, Any]], None]
"""Writes one event."""


class Steps:
    """Tells how far a build is, when that has changed. One thread at a time."""

    def __init__(self, progress: BuildProgress, emit: Emit) -> None:
        self._progress = progress
        self._emit = emit
        self._log = ""
        self._told: dict[str, Any] = {}

    def tell(self, records: Iterable[LogRecord] = ()) -> None:
        """Write an event, if there is something new; `records` are the log's since the last call."""
        for record in records:
            print(f"{record.severity}: {record.component}: {record.message}", file=sys.stderr)
            self._log = record.message
        step = {
            "fraction": self._progress.fraction,
            "phase": self._progress.phase or "starting",
            "log": self._log,
        }
        if step != self._told:
            self._told = step
            self._emit(step)


def attempt(request: Request, emit: Emit) -> dict[str, Any]:
    """Build the plan, and tell the steps; return the last event."""
    progress = BuildProgress()
    steps = Steps(progress, emit)
    steps.tell()
    if request["most_bytes"] is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["most_bytes"], hard))
    ended = threading.Event()
    telling = threading.Thread(target=_tell_until, args=[ended, steps])
    telling.start()
    try:
        return _build(request, progress)
    except Error as failure:
        return {"kind": failure.kind, "message": str(failure), "retry_after": failure.retry_after}
    finally:
        ended.set()
        telling.join()
        steps.tell(take_log())


def _build(request: Request, progress: BuildProgress) -> dict[str, Any]:
    options = BuildOptions(**request["options"])
    runtime = create_runtime(tensorrt=_settings(request))
    try:
        backend = request["backend"] or newest_builder(runtime)
        runtime.build(backend, request["model"], request["plan"], options, progress)
        return {"ok": True, "target": build_target(runtime, backend, options.device)}
    finally:
        runtime.close()


def newest_builder(runtime: Runtime) -> str:
    """Return the backend of the newest TensorRT that builds plans here. Blocks. Raises Error (Unsupported) if
    there is none."""
    majors = {
        int(name.removeprefix("tensorrt")): name for name in runtime.backends() if name.startswith("tensorrt")
    }
    for major in sorted(majors, reverse=True):
        with suppress(Error):  # its library is not installed
            if runtime.backend_builds(majors[major]):
                return majors[major]
    failure = Error(
        "no TensorRT that builds plans is installed: pip install tensorrt, the full library with its builder "
        "and its ONNX parser"
    )
    failure.kind, failure.retry_after = "Unsupported", None
    raise failure


def _settings(request: Request) -> TensorRtOptions:
    return TensorRtOptions(
        libraries=tuple(map(Path, request["libraries"])),
        plugins=tuple(map(Path, request["plugins"])),
        allow_host_code=request["allow_host_code"],
    )


def _tell_until(ended: threading.Event, steps: Steps) -> None:
    while not ended.wait(EVENTS_EVERY_S):
        steps.tell(take_log())


def build_target(runtime: Runtime, backend: str, device: str) -> str:
    """Return what a plan that is built now is for, in words: "TensorRT 8.5.3, NVIDIA H100 80GB HBM3 (compute
    capability 9.0)"; without a GPU only the version. Blocks."""
    import torch  # which a server needs for nothing else: see torch_libraries

    version = f"TensorRT {runtime.backend_version(backend)}"
    if not torch.cuda.is_available():
        return version
    gpu = torch.cuda.get_device_properties(int(device.partition(":")[2] or 0))
    return f"{version}, {gpu.name} (compute capability {gpu.major}.{gpu.minor})"


def main() -> None:
    """Do the build that standard input asks for, and end the process."""
    bind_to(os.getppid())
    events = os.dup(1)
    os.dup2(2, 1)  # libraries print there

    def emit(event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        try:
            while line:
                line = line[os.write(events, line) :]
        except OSError:  # nobody reads: the process that started this one is gone
            os._exit(1)

    try:
        emit(attempt(json.loads(sys.stdin.buffer.readline()), emit))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)  # skip the libraries' exit handlers: the plan and the last event are written


if __name__ == "__main__":
    main()
