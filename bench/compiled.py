"""Compiles the benchmarks' C++ into build/bench on first use, and again when a source is newer."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"


def compiled(source: str, target: str, *options: str, headers: Sequence[str] = ()) -> Path:
    """Compile `source`, a file in this folder, to `target` and return its path. Exits on failure.

    `headers` are the files in this folder that the source includes.
    """
    path, program = HERE / source, BUILD / target
    newest = max((HERE / name).stat().st_mtime for name in (source, *headers))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise SystemExit(f"error: the compiler {compiler} is missing; on Debian: apt-get install g++")
    BUILD.mkdir(parents=True, exist_ok=True)
    part = program.with_suffix(f".{os.getpid()}.part")  # a concurrent run must not see half of it
    command = [compiler, "-std=c++17", "-O2", "-Wall", "-Wextra", *options, str(path), "-o", str(part)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"error: {path} was not compiled")
    return part.replace(program)
