"""The parent's side of the child process that runs cases: a crash or a hang counts as a result."""

import json
import select
import subprocess
import sys
from types import TracebackType
from typing import IO, Any, Self

from tests.onnx_suite.sides import Outcome

CASE_S = 60  # only ends cases that would never end
START_S = 300


class Worker:
    """A child process that runs cases; restarted when a case has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def start(self) -> Any:
        """Start the child; return, by case name, what no request can carry."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.onnx_suite.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # select() does not see data in a buffer here
        )
        return self._read(START_S)

    def run(self, side: str, name: str) -> Outcome:
        if self._process is None:
            self.start()
        _pipe(self._process, "stdin").write(json.dumps([side, name]).encode() + b"\n")
        try:
            return Outcome(*self._read(CASE_S))
        except TimeoutError:
            self._end()
            return Outcome("hung", f"for {CASE_S} seconds")
        except EOFError:
            return Outcome("crashed", f"exit status {self._end()}")

    def _read(self, seconds: float) -> Any:
        while True:
            ready, _, _ = select.select([_pipe(self._process, "stdout")], [], [], seconds)
            if not ready:
                raise TimeoutError
            line = _pipe(self._process, "stdout").readline()
            if not line:
                raise EOFError
            if line.startswith((b"{", b"[")):
                return json.loads(line)

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.wait()


def _pipe(process: subprocess.Popen[bytes] | None, which: str) -> IO[bytes]:
    pipe: IO[bytes] = getattr(process, which)
    return pipe
