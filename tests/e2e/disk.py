"""A small disk of its own for a server: one that fills up, or cannot be written in places."""

import errno
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HOLD = 'mount -t tmpfs -o size="$2" small "$1" && echo mounted && exec cat'


class Disk:
    """A tmpfs in a mount namespace, which a process holds; servers enter it."""

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder = folder  # as the servers see it
        self.enter = ["nsenter", f"--target={holder}", "--user", "--preserve-credentials", "--mount", "--"]
        self._root = Path(f"/proc/{holder}/root")

    def seen(self, path: Path) -> Path:
        """A path on the disk, as the test reaches it."""
        return self._root / path.relative_to("/")

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self.seen(self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (65_536, 4096, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError as failure:
                    if failure.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        self.seen(self.folder / "filler").unlink()

    def make_read_only(self, path: Path) -> None:
        """Let nothing more be written to a folder, as to a disk that the kernel remounts after errors."""
        self._mount("--bind", str(path), str(path))
        self._mount("-o", "remount,bind,ro", str(path))

    def make_writable(self, path: Path) -> None:
        subprocess.run([*self.enter, "umount", str(path)], check=True)

    def _mount(self, *arguments: str) -> None:
        subprocess.run([*self.enter, "mount", *arguments], check=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    """Skips the test where nothing can be mounted."""
    folder.mkdir()
    command = ["unshare", "--map-root-user", "--mount", "--", "sh", "-c", HOLD, "sh", str(folder), size]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as holder:
        assert holder.stdout is not None
        said = holder.stdout.readline().strip()
        if said != "mounted":
            pytest.skip(f"no disk can be mounted here: {said}")
        yield Disk(folder, holder.pid)
        # Popen closes its input now, which ends it.


def on(disk: Disk, command: Sequence[str]) -> list[str]:
    """The command, on that disk."""
    return [*disk.enter, *command]
