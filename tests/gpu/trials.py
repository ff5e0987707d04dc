"""Trial loads as the server does them, without the server: each plan is loaded by a process of its own."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

ENDS_WITHIN_S = 120  # only to end a test that would never end


class TrialHost:
    """A host of runtime_ext.trial, which forks a child for each load. Thread safe; `with` starts and ends
    it."""

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sending = threading.Lock()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runtime_ext.trial", str(number)], pass_fds=[number]
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._control.close()  # so the host ends
        self._process.wait(ENDS_WITHIN_S)

    def load(self, plan: Path, backend: str) -> str:
        """Load a plan in a child; return "loaded", the kind of its refusal, or the signal that ended it."""
        connection, childs = socket.socketpair()
        said, childs_said = socket.socketpair()
        with connection, said:
            with childs, childs_said, self._sending:
                socket.send_fds(self._control, [b"?"], [childs.fileno(), childs_said.fileno()])
            request = {
                "plan": str(plan),
                "backend": backend,
                "options": {},
                "library": None,
                "libraries": [],
                "plugins": [],
                "allow_host_code": False,
            }
            connection.sendall(json.dumps(request).encode() + b"\n")
            report = read_all(connection, said)
        lines = [json.loads(line) for line in report.splitlines() if line.strip()]
        exit_code = lines[-1]["exit"]
        if exit_code < 0:
            return signal.Signals(-exit_code).name
        assert exit_code == 0, f"the trial ended with the exit code {exit_code} and without a report"
        return "loaded" if lines[-2].get("ok") else str(lines[-2]["kind"])


def read_all(connection: socket.socket, said: socket.socket) -> bytes:
    """Read the connection to its end, and throw away what the child says meanwhile."""
    report = b""
    with selectors.DefaultSelector() as either:
        for end in (connection, said):
            either.register(end, selectors.EVENT_READ)
        while True:
            ready = either.select(ENDS_WITHIN_S)
            assert ready, "a trial load does not end"
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if key.fileobj is connection:
                    if not chunk:
                        return report
                    report += chunk
                elif not chunk:
                    either.unregister(said)
