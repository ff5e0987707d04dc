"""What this machine has no more of: the Unavailable that an exception of Python means, where it means one."""

import errno
import mmap

from trtserve.errors import Unavailable

RETRY_AFTER_S = 5.0
THREAD_BYTES = 64 * 1024**2  # of the address space: a stack, and what glibc's malloc reserves for a thread

_BY_ERRNO = {
    errno.EMFILE: "file descriptors: close connections, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "file descriptors: close connections, or raise the system's limit of open files",
    errno.ENOMEM: "memory: unload engines, or give the server more",
    errno.EAGAIN: "threads: unload engines, or raise the limit of them (ulimit -u, a container's pids)",
}
_MEMORY, _THREADS = _BY_ERRNO[errno.ENOMEM], _BY_ERRNO[errno.EAGAIN]

_WORDS = {
    "bad_alloc": _MEMORY,
    "annot allocate memory": _MEMORY,
    "MemoryError": _MEMORY,
    "Resource temporarily unavailable": _THREADS,
    "can't start new thread": _THREADS,
    "Too many open files": _BY_ERRNO[errno.EMFILE],
}
"""What C++ and Python print as their last words when a process ends for want of something."""


def passes(failure: Exception) -> bool:
    """Whether it is of something that the server is short of now."""
    return (
        getattr(failure, "kind", "") == Unavailable.kind and getattr(failure, "retry_after", None) is not None
    )


def shortage_behind(failure: BaseException) -> Unavailable | None:
    """None where the failure is of another kind."""
    match failure:
        case MemoryError():
            return short_of(_MEMORY)
        case OSError(errno=int(number)) if number in _BY_ERRNO:
            return short_of(_BY_ERRNO[number])
        case RuntimeError() if "can't start new thread" in str(failure):
            return short_of(_THREADS)
    return None


def check_memory() -> None:
    """Unavailable where a thread's memory is not to be had.

    To be asked before a thread is started: Python waits for ever for one that has no memory to begin with.
    """
    try:
        mmap.mmap(-1, THREAD_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        raise short_of(_MEMORY) from None


def shortage_in(words: str) -> Unavailable | None:
    """The shortage that a process which crashed told of."""
    return next((short_of(what) for word, what in _WORDS.items() if word in words), None)


def short_of(what: str) -> Unavailable:
    return Unavailable(f"The server got no more {what}. Try again then.", retry_after=RETRY_AFTER_S)
