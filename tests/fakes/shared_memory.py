"""Fake shared memory, for tests of code that reads and writes it."""

from trtserve.errors import InvalidInput, NotFound


class FakeSharedMemory:
    """Keeps regions by name in a dictionary; `writes` lists the written places in order."""

    def __init__(self, **regions: bytes) -> None:
        self.regions = {name: bytearray(content) for name, content in regions.items()}
        self.writes: list[tuple[str, int, int]] = []

    def data(self, name: str, offset: int, byte_size: int) -> bytes:
        self.check(name, offset, byte_size)
        return bytes(self.regions[name][offset : offset + byte_size])

    def check(self, name: str, offset: int, byte_size: int) -> None:
        if name not in self.regions:
            raise NotFound(f"There is no shared memory region {name!r}.")
        if offset + byte_size > len(self.regions[name]):
            raise InvalidInput(f"The region {name!r} has {len(self.regions[name])} bytes.")

    def write(self, name: str, offset: int, data: memoryview) -> None:
        self.check(name, offset, len(data))
        self.writes.append((name, offset, len(data)))
        self.regions[name][offset : offset + len(data)] = data
