"""A container of an image: of docker or podman, or, where there is only buildah, by chroot in namespaces.

Either way it has the image's user and environment, a root that is read-only but for /tmp and the store, no
capabilities, and the network of this machine, where it listens on the loopback address.
"""

import json
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from tests.waiting import wait_until

HANGS_AFTER_S = 120  # only to end a test that would never end
STORE = "var/lib/trtserve"
SANDBOX = """
mount --bind "$0" "$0"
mount --bind "$1" "$0/var/lib/trtserve"
mount -t tmpfs tmpfs "$0/tmp"
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount -o remount,bind,ro "$0"
root=$0 user=$2; shift 2
exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
"""
"""Its arguments: the root, the store's folder, the user, and the command."""


class Container(Protocol):
    config: dict[str, Any]  # of the image, as Docker names its parts

    @property
    def log(self) -> str: ...

    def start(self, store: Path, **variables: str) -> None:
        """Start the image's own command with a folder for its store and more environment variables."""

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the server, as its user."""

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""

    def ended(self) -> int:
        """Wait for the server's end; return the exit code."""

    def remove(self) -> None:
        """End the server if it runs, and leave nothing behind."""


def container_of(engine: str, image: str) -> Container:
    return BuildahContainer(image) if engine == "buildah" else EngineContainer(engine, image)


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=HANGS_AFTER_S)
    assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stderr}"
    return done


class EngineContainer:
    """A container of docker or podman."""

    def __init__(self, engine: str, image: str) -> None:
        self._engine, self._image = engine, image
        self._name = f"trtserve-test-{uuid.uuid4().hex[:12]}"
        self.config = json.loads(run(engine, "image", "inspect", image).stdout)[0]["Config"]

    @property
    def log(self) -> str:
        said = run(self._engine, "logs", self._name)
        return said.stdout + said.stderr

    def start(self, store: Path, **variables: str) -> None:
        self.remove()
        command = [self._engine, "run", "--detach", "--name", self._name, "--read-only", "--tmpfs", "/tmp"]
        command += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"]
        command += [option for name, value in variables.items() for option in ("--env", f"{name}={value}")]
        run(*command, "--volume", f"{store}:/{STORE}", self._image)

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run(self._engine, "exec", self._name, *command, check=False)

    def stop(self) -> int:
        run(self._engine, "kill", "--signal", "TERM", self._name)
        return self.ended()

    def ended(self) -> int:
        return int(run(self._engine, "wait", self._name).stdout)

    def remove(self) -> None:
        run(self._engine, "rm", "--force", self._name, check=False)


class BuildahContainer:
    """A container whose root buildah has made and mounted."""

    def __init__(self, image: str) -> None:
        self._container = run("buildah", "from", "--pull-never", image).stdout.strip()
        self._root = run("buildah", "mount", self._container).stdout.strip()
        told = json.loads(run("buildah", "inspect", "--type", "image", image).stdout)
        self.config = told["Docker"]["config"]
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  remove() closes it
        self._environment: list[str] = []

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def start(self, store: Path, **variables: str) -> None:
        self._end()
        self._log.truncate(0)
        self._environment = [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        command = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", SANDBOX]
        command += [self._root, str(store), self.config["User"], *self._in_the_image(self._command)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    @property
    def _command(self) -> Sequence[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    def _in_the_image(self, command: Sequence[str]) -> list[str]:
        """The command with the image's environment and working directory."""
        return ["env", "-i", "-C", self.config["WorkingDir"], *self._environment, *command]

    @property
    def _server(self) -> int:
        """The server's process ID in this machine's namespace: it is unshare's only child."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        wait_until(lambda: bool(children.read_text()), "the process in the container")
        return int(children.read_text())

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        user, group = self.config["User"].split(":")
        enter = ["nsenter", "--target", str(self._server), "--mount", "--pid", "--root", "--setuid", user]
        return run(*enter, "--setgid", group, *self._in_the_image(command), check=False)

    def stop(self) -> int:
        os.kill(self._server, signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        return process.wait(HANGS_AFTER_S)

    def remove(self) -> None:
        self._end()
        self._log.close()
        run("buildah", "umount", self._container)
        run("buildah", "rm", self._container)

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._server, signal.SIGKILL)  # and with it all of its namespace
            self.ended()
