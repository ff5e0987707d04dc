"""What the server has no more of, as exceptions and last words tell it."""

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
def test_an_exception_of_a_shortage_is_told_as_unavailable(failure: Exception, what: str) -> None:
    shortage = shortage_behind(failure)
    assert shortage is not None
    assert f"got no more {what}: " in str(shortage)
    told = tell(failure)
    assert (told.kind, told.sentence, told.retry_after) == ("Unavailable", str(shortage), 5)


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOENT, "no"), RuntimeError("what?"), ValueError("x"), OSError()]
)
def test_another_exception_is_none(failure: Exception) -> None:
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
def test_last_words_are_read(words: str, what: str) -> None:
    shortage = shortage_in(words)
    assert shortage is not None
    assert f"got no more {what}: " in str(shortage)
    assert shortage.retry_after is not None


def test_other_last_words_tell_of_no_shortage() -> None:
    assert shortage_in("Segmentation fault") is None


def test_the_memory_of_a_thread_is_looked_for_before_one_is_started() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    check_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**24, before[1]))
    try:
        with pytest.raises(Unavailable, match="no more memory"):
            check_memory()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    check_memory()
