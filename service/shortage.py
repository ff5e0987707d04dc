"""Shortages of memory, threads and descriptors: which Unavailable a Python exception stands for."""

import errno
import mmap

from trtserve.errors import Unavailable

RETRY_AFTER_S = 5.0
THREAD_BYTES = 64 * 1024**2  # of address space: a stack, and what glibc's malloc reserves for a thread

_BY_ERRNO = {
    errno.EMFILE: "file descriptors: close connections, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "file descriptors: close connections, or raise the system's limit of open files",
    errno.ENOMEM: "memory: unload engines, or give the server more",
    errno.EAGAIN: "threads: unload engines, or raise the limit of threads (ulimit -u, a container's pids)",
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
"""What C++ and Python print last when a shortage ends a process."""


def passes(failure: BaseException) -> bool:
    """True if the failure is a shortage, which may pass."""
    return (
        getattr(failure, "kind", "") == Unavailable.kind and getattr(failure, "retry_after", None) is not None
    )


def is_of_memory(failure: BaseException) -> bool:
    """True if the failure is a shortage of memory; only its sentence tells that from other shortages."""
    return passes(failure) and "memory" in str(failure)


def shortage_behind(failure: BaseException) -> Unavailable | None:
    """The shortage that caused the failure; None if the cause is not a shortage."""
    match failure:
        case MemoryError():
            return short_of(_MEMORY)
        case OSError(errno=int(number)) if number in _BY_ERRNO:
            return short_of(_BY_ERRNO[number])
        case RuntimeError() if "can't start new thread" in str(failure):
            return short_of(_THREADS)
    return None


def check_memory() -> None:
    """Raise Unavailable if there is too little memory for another thread.

    Call it before starting a thread: Python waits for ever for a thread that lacks the memory to start.
    """
    try:
        mmap.mmap(-1, THREAD_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        raise short_of(_MEMORY) from None


def shortage_in(words: str) -> Unavailable | None:
    """The shortage that a crashed process reported in its last words; None if it reported none."""
    return next((short_of(what) for word, what in _WORDS.items() if word in words), None)


def short_of(what: str) -> Unavailable:
    return Unavailable(f"The server ran out of {what}. Try again then.", retry_after=RETRY_AFTER_S)
