"""Programs that run alone, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path


def run(program: str, *arguments: Path) -> None:
    """Run Python code that finds the arguments in sys.argv; it must succeed."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
