"""Recognising a shortage from an exception or from the last words of a process."""

import errno
import os
import resource
from pathlib import Path

import pytest

from trtserve.errors import Unavailable
from trtserve.failures import tell
from trtserve.shortage import check_memory, shortage_behind, shortage_in


@pytest.mark.parametrize(
    ("failure", "what"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "file descriptors"),
        (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "file descriptors"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "threads"),
        (RuntimeError("can't start new thread"), "threads"),
    ],
)
def test_a_shortage_becomes_unavailable(failure: Exception, what: str) -> None:
    shortage = shortage_behind(failure)
    assert shortage is not None
    assert f"ran out of {what}: " in str(shortage)
    told = tell(failure)
    assert (told.kind, told.sentence, told.retry_after) == ("Unavailable", str(shortage), 5)


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOENT, "no"), RuntimeError("what?"), ValueError("x"), OSError()]
)
def test_other_exceptions_are_not_shortages(failure: Exception) -> None:
    assert shortage_behind(failure) is None
    assert tell(failure).kind == "ExecutionFailed"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("terminate called after throwing an instance of 'std::bad_alloc'\n  what():", "memory"),
        ("libtorch.so: failed to map segment: Cannot allocate memory", "memory"),
        ("Traceback (most recent call last):\n  ...\nMemoryError", "memory"),
        ("terminate called: what(): Resource temporarily unavailable", "threads"),
        ("RuntimeError: can't start new thread", "threads"),
        ("libtbb.so: cannot open shared object file: Too many open files", "file descriptors"),
    ],
)
def test_a_shortage_is_recognised_in_last_words(words: str, what: str) -> None:
    shortage = shortage_in(words)
    assert shortage is not None
    assert f"ran out of {what}: " in str(shortage)
    assert shortage.retry_after is not None


def test_other_last_words_are_not_a_shortage() -> None:
    assert shortage_in("Segmentation fault") is None


def test_the_memory_for_a_thread_is_checked_before_it_starts() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    check_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**24, before[1]))
    try:
        with pytest.raises(Unavailable, match="ran out of memory"):
            check_memory()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    check_memory()
