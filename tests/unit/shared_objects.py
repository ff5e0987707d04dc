"""Shared memory objects in /dev/shm, as clients make them."""

import os
from pathlib import Path

SHM = Path("/dev/shm")
DATA = bytes(range(100))


def make(key: str, data: bytes = DATA) -> Path:
    path = SHM / key
    path.write_bytes(data)
    return path


def descriptors(path: Path) -> int:
    """How many descriptors of this process are open on the object."""
    found = path.stat()
    same = 0
    for number in Path("/proc/self/fd").iterdir():
        try:
            told = os.fstat(int(number.name))
        except OSError:  # that of the listing itself
            continue
        same += (told.st_dev, told.st_ino) == (found.st_dev, found.st_ino)
    return same
