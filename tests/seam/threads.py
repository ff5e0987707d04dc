"""The threads of this process."""

from pathlib import Path


def threads() -> set[int]:
    """Return the IDs of all threads of this process.

    A test looks at those that are new to it, never at how many there are: a thread that a library or an
    earlier test has started may end at any moment.
    """
    return {int(folder.name) for folder in Path("/proc/self/task").iterdir()}


def instance_threads() -> set[int]:
    """Return the IDs of the threads with an instance's name, which those that it starts inherit."""
    return {thread for thread in threads() if name_of(thread) == "trt-instance"}


def name_of(thread: int) -> str | None:
    """Return the name of a thread of this process, or nothing if it has ended meanwhile."""
    try:
        return Path(f"/proc/self/task/{thread}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None
