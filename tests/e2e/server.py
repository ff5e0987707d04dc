"""A real server process on a free port of the loopback interface."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

import httpx

from tests.waiting import wait_until

if TYPE_CHECKING:
    import ssl

HANGS_AFTER_S = 120  # only to end a test that would never end
COMMAND = Path(sys.executable).with_name("trtserve")
SERVE = (str(COMMAND),) if COMMAND.exists() else (sys.executable, "-P", "-m", "trtserve")


class Server:
    """`trtserve serve` on a store; `with` starts it, and stops it with SIGTERM.

    `command` serves in place of the installed one.
    """

    grpc_server: ClassVar[str] = "auto"
    """What serves gRPC, in all servers that start: conftest sets it for each test."""

    def __init__(
        self, store: Path, *options: str, grpc: bool = False, command: Sequence[str] = (*SERVE, "serve")
    ) -> None:
        self.store = store
        self._command = command
        self.variables: dict[str, str] = {}  # added to the environment at the next start
        self.headers: dict[str, str] = {}  # of the client's requests, after the next start
        self.trust: ssl.SSLContext | bool = True  # the client's, after the next start
        self.grpc_address = ""  # set once it listens
        self._grpc = grpc
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.client = httpx.Client()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        if self._process is not None:
            self.stop()

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the server is not running"
        return self._process

    def now(self) -> str:
        """Whether the process runs, for a report."""
        if self._process is None:
            return "has been stopped"
        code = self._process.poll()
        return "runs" if code is None else f"ended by itself with {code}"

    @property
    def log(self) -> str:
        return self._log_path.read_text() if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.store.with_suffix(".log")

    def start(self) -> None:
        """Start the process and return once it listens."""
        command = [*self._command, "--port", "0", "--store", str(self.store)]
        command += ["--grpc-port", "0" if self._grpc else "off", "--grpc-server", self.grpc_server]
        with self._log_path.open("a") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment() | self.variables,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        listening = re.search(r"https?://\S+?:\d+", line)
        assert listening, f"the server did not start: {line!r}\n{self.log}"
        self.client.close()
        self.client = httpx.Client(
            base_url=listening.group(), timeout=120, headers=self.headers, verify=self.trust
        )
        if self._grpc:
            line = self._process.stdout.readline()
            listening = re.search(r"(\S+:\d+) for gRPC", line)
            assert listening, f"the server has no gRPC: {line!r}\n{self.log}"
            self.grpc_address = listening.group(1)

    def metric(self, name: str, **labels: str) -> float:
        """The value of the metric with this name and at least these labels; 0 if there is none."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        series = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", self.client.get("/metrics").text, re.MULTILINE)
        found = [float(value) for has, value in series if wanted <= set(re.findall(r'\w+="[^"]*"', has))]
        assert len(found) <= 1, f"{name} occurs {len(found)} times with {labels}"
        return sum(found)

    def wait_until_busy(self, engine: str) -> None:
        """Return once an instance of the engine runs a request."""
        wait_until(
            lambda: self.metric("trtserve_instances_busy", engine=engine) == 1,
            f"a running request of {engine}",
        )

    def wait_until_queued(self, engine: str, requests: int) -> None:
        """Return once `requests` requests wait for the engine."""
        wait_until(
            lambda: self.metric("trtserve_queue_depth", engine=engine) == requests,
            f"{requests} waiting requests",
        )

    def wait_until_ready(self) -> None:
        """Return once every stored engine has been loaded, or has failed."""
        wait_until(lambda: self.client.get("/health/ready").status_code == 200, "the readiness of the server")

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        return self._end(signal.SIGTERM)

    def interrupt(self) -> int:
        """Send SIGINT, as Ctrl-C does; return the exit code."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """Send SIGKILL: the process cannot clean up."""
        self._end(signal.SIGKILL)

    def _end(self, by: signal.Signals) -> int:
        process, self._process = self.process, None
        process.send_signal(by)
        code = process.wait(HANGS_AFTER_S)
        assert process.stdout is not None
        process.stdout.close()
        return code


def environment() -> dict[str, str]:
    """The environment without the settings of trtserve."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRTSERVE_")}
