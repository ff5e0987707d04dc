"""Builds plans from ONNX models, each in a child process (runtime_ext/building.py).

A build takes minutes, and a model may crash the library or take all memory: then only the child ends. The
kernel kills it first when memory runs out, and it ends with this process. It says how far it is, and can be
ended at any time: only its last step, which is not its own, gives a plan its place.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runtime_ext import Error, Runtime
from runtime_ext.backends import TensorRtOptions
from trtserve.errors import TooLarge, Unavailable, Unsupported
from trtserve.formats.backends import TENSORRT
from trtserve.formats.generations import generations
from trtserve.plans.child import SAID_CHARACTERS, Work, failure_of, keep_last, last_words, parsed
from trtserve.shortage import RETRY_AFTER_S, shortage_behind
from trtserve.streams import over_limit
from trtserve.text import cut, sentence

logger = logging.getLogger(__name__)

# -P: do not import from the folder that the server was started in.
COMMAND = (sys.executable, "-P", "-m", "runtime_ext.building")
LINE_BYTES = 1024**2  # an event that is longer is skipped
PAUSE_S = 0.01  # between two lines of events: as many as come at once would hold up the event loop
KILLED_WITHIN_S = 5.0  # a killed child is gone by then, or it is stuck in a driver
BUILDING = Work(
    "The model's build in a process of its own",
    "The model crashed",
    "nothing was built",
    " while its plan was built",
)
CRASHED = (
    "Simplify the model, or build it with another precision; another version of the library may build it too."
)
NO_BUILDER = (
    "Install TensorRT's full library with its builder and its ONNX parser (libnvinfer, "
    "libnvinfer_builder_resource and libnvonnxparser: the package tensorrt, not tensorrt_lean), build the "
    "plan elsewhere and upload that, or ask for backend=openvino, which runs the model as it is."
)


class Step(NamedTuple):
    """What a build tells of itself on its way."""

    fraction: float | None  # 0 to 1; None: the library does not tell
    phase: str
    log: str  # the last line of the library's log


@dataclass(frozen=True)
class Job:
    backend: str  # of the runtime
    model: Path
    plan: Path  # where it is written; afterwards the file is there only if the build succeeded
    options: dict[str, Any]  # BuildOptions of the runtime
    most_bytes: int | None = None  # of the plan; None: no limit

    def without_paths(self, text: str) -> str:
        """The text without the paths of the job's files, which are nobody's business but the server's."""
        files = {
            self.model: "the model",
            self.plan: "the plan",
            self.options.get("timing_cache"): "the cache",
        }
        for path, name in files.items():
            text = text.replace(str(path), name) if path else text
        return text

    def delete_leftovers(self, child: int) -> None:
        """Delete what the child with this process ID was writing when it ended."""
        self.plan.unlink(missing_ok=True)
        if self.options.get("timing_cache"):
            Path(f"{self.options['timing_cache']}.{child}.part").unlink(missing_ok=True)


Build = Callable[[Job, Callable[[Step], None]], Awaitable[str]]
"""Does a job and tells its steps; returns what the plan was built for. Leaves nothing if it is cancelled."""


def choose_builder(runtime: Runtime) -> str:
    """The newest installed generation of TensorRT that builds plans. Blocks. Raises Unsupported for none."""
    installed = generations(runtime.backends())
    reasons = []
    for major in sorted(installed, reverse=True):
        backend = installed[major]
        try:
            if runtime.backend_builds(backend):
                return backend
        except Error as failure:  # its library cannot be opened
            reasons.append(sentence(str(failure)))
    if not installed:
        raise Unsupported(f"This server has no tensorrt backend to build a plan with. {TENSORRT.missing}")
    why = " ".join(["The TensorRT of this server cannot build plans.", *reasons])
    raise Unsupported(f"{why} {NO_BUILDER}")


class ProcessBuild:
    """A Build in a child process. Belongs to an event loop; any number may run at the same time."""

    def __init__(
        self,
        tensorrt: TensorRtOptions,
        timeout_s: float | None,
        command: Sequence[str] | None = None,
        killed_within_s: float = KILLED_WITHIN_S,
    ) -> None:
        """`timeout_s` None: no limit. `command` starts a child, and only tests give one."""
        self._tensorrt = tensorrt
        self._timeout_s = timeout_s
        self._command = tuple(command or COMMAND)
        self._killed_within_s = killed_within_s

    async def __call__(self, job: Job, tell: Callable[[Step], None]) -> str:
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES,
                start_new_session=True,  # a Ctrl-C in the server's terminal is not meant for it
            )
        except OSError as broken:
            raise shortage_behind(broken) or Unavailable(
                f"The model's build could not be started ({broken.strerror}): nothing was built. Try again.",
                retry_after=RETRY_AFTER_S,
            ) from broken
        built = False
        try:
            async with asyncio.timeout(self._timeout_s):
                target = await self._follow(child, job, tell)
            built = True
            return target
        except TimeoutError:
            raise Unavailable(
                f"The model's build took longer than {self._timeout_s:g} s and was ended: nothing was built. "
                "Start the server with a higher --build-timeout-s, or ask for fewer profiles."
            ) from None
        finally:
            await self._end(child)
            if not built:
                job.delete_leftovers(child.pid)

    async def _follow(self, child: asyncio.subprocess.Process, job: Job, tell: Callable[[Step], None]) -> str:
        """Hand the job over and pass its steps on; return the target, or raise why the build failed."""
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        said = bytearray()
        saying = asyncio.create_task(keep_last(4 * SAID_CHARACTERS, child.stderr, said))
        try:
            child.stdin.write(self._request(job))
            child.stdin.close()
            report: Any = None
            while (event := await _next_event(child.stdout)) is not None:
                match event:
                    case {"phase": str(phase)}:
                        tell(_step(phase, event, job))
                    case _:
                        report = event
            exit_code = await child.wait()
            await saying
        finally:
            saying.cancel()
            await asyncio.wait((saying,))
        words = last_words(said)
        logger.debug("build of %s: %s: %s", job.model.name, report, words)
        failure = failure_of(BUILDING, report, exit_code, words, library=TENSORRT.library, crashed=CRASHED)
        if isinstance(failure, TooLarge) and job.most_bytes is not None:
            raise over_limit("The plan that was built is", job.most_bytes, "max-plan-bytes") from failure
        if failure is not None:
            failure.args = (sentence(job.without_paths(str(failure))),)
            raise failure
        return str(report.get("target", ""))

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        """Kill the child if it is still running, wait for its end, and drop the rest of its output."""
        if child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.kill()
        # Not wait(): asyncio takes note of the end only once both pipes have been read to theirs.
        gone = asyncio.ensure_future(child.communicate())
        _, stuck = await asyncio.wait((gone,), timeout=self._killed_within_s)
        for wait in stuck:
            wait.cancel()
            logger.warning("the process %d, which builds a plan, was killed and does not end", child.pid)

    def _request(self, job: Job) -> bytes:
        request = {
            "backend": job.backend,
            "model": str(job.model.absolute()),
            "plan": str(job.plan.absolute()),
            "options": job.options,
            "libraries": [str(library) for library in self._tensorrt.libraries],
            "plugins": [str(plugin) for plugin in self._tensorrt.plugins],
            "allow_host_code": self._tensorrt.allow_host_code,
            "most_bytes": job.most_bytes,
        }
        return json.dumps(request).encode() + b"\n"


async def _next_event(events: asyncio.StreamReader) -> Any:
    """The next line that is a JSON value; None at the end."""
    while True:
        await asyncio.sleep(PAUSE_S)
        try:
            line = await events.readline()
        except ValueError:  # longer than LINE_BYTES: it was skipped
            continue
        if not line:
            return None
        event = parsed([line])
        if event is not None:
            return event


def _step(phase: str, more: dict[str, Any], job: Job) -> Step:
    fraction = more.get("fraction")
    known = isinstance(fraction, int | float) and 0 <= fraction <= 1
    return Step(
        float(fraction) if known else None,  # type: ignore[arg-type]  # mypy does not follow `known`
        cut(job.without_paths(phase)),
        cut(job.without_paths(str(more.get("log", "")))),
    )
