"""What the child processes have in common in which libraries read files that they trust."""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
FIRST_TO_BE_KILLED = b"1000"  # when memory runs out: see proc(5), oom_score_adj


def bind_to(parent: int) -> None:
    """End with the process that made this one, end before it if memory runs out, and write no core dump."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(FIRST_TO_BE_KILLED)
