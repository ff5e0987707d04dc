"""System shared memory between clients and this server: its tensors do not travel over the network.

A region is a part of a POSIX shared memory object that a client made and registered. Its bytes are read and
written through the object's descriptor, never through a mapping: a client can shorten its object at any time,
and touching a mapped page that has lost its memory is a SIGBUS, which would end the server. A read or write
past the end only fails that one call. An input is read once, so the data that was checked is the data that
runs.
"""

import errno
import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Any

from runtime_ext import FilePart, Output, TensorSpec
from trtserve.codec import InferRequest, Selected
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import RegionPart, Unread
from trtserve.codec.whole import whole
from trtserve.errors import Conflict, InvalidInput, NotFound, TooLarge, TrtserveError, Unsupported
from trtserve.settings import Settings
from trtserve.text import shown

FOLDER = Path("/dev/shm")  # where shm_open(3) of glibc and musl keeps objects
# Like shm_open's; O_NONBLOCK has no effect on a regular file, and keeps open() of other files from blocking.
FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
MOST_REGIONS = 1024  # each holds a descriptor
LONGEST_NAME = 255  # characters: NAME_MAX of Linux
READ_AT_ONCE = 1 << 30  # bytes; one call moves less than 2 GiB
READ_HERE = 65536  # bytes; the execution reads a longer input, in its own thread and where it is needed


class _Descriptor:
    """An open object, closed when the last region or call that uses it releases it.

    So if a region is unregistered during a read, no other file can take over its descriptor's number.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.number)


@dataclass(frozen=True)
class _Region:
    name: str
    key: str
    offset: int  # of its first byte in the object
    byte_size: int
    object: _Descriptor = field(repr=False)

    def check_object(self) -> None:
        """Raise Conflict if the object has been removed, or has become too short."""
        found = os.fstat(self.object.number)
        if found.st_nlink == 0:
            raise Conflict(
                f"Shared memory region {self.name!r} is stale: its object {self.key!r} has been removed "
                "since it was registered. Unregister the region, and register it again."
            )
        if found.st_size < self.offset + self.byte_size:
            raise self.too_short(found.st_size)

    def too_short(self, size: int) -> Conflict:
        return Conflict(
            f"Shared memory region {self.name!r} is bytes {self.offset} to {self.offset + self.byte_size} of "
            f"the object {self.key!r}, which now has only {size}: it has been shortened since. "
            "Make it long enough again, or register a smaller region."
        )


class Regions:
    """The regions that clients have registered. Thread safe; a method may block for the time of a copy."""

    def __init__(self, settings: Settings) -> None:
        patterns = (pattern.strip() for pattern in settings.shared_memory.split(","))
        self._patterns = [pattern.removeprefix("/") for pattern in patterns if pattern]
        self._lock = Lock()
        self._regions: dict[str, _Region] = {}  # guarded by _lock

    @property
    def enabled(self) -> bool:
        """True if there are keys that clients may register."""
        return bool(self._patterns)

    def register(self, name: object, key: object, offset: object, byte_size: object) -> None:
        """Register a part of the object `key`, in bytes; the arguments are as the client sent them.

        Raises Unsupported if shared memory is off, Conflict for a name that is taken, NotFound for a key
        without an object, InvalidInput for arguments that can never be a region.
        """
        if not self.enabled:
            raise _off()
        name, key = _text(name, "name"), _text(key, "key")
        offset, byte_size = _number(offset, "offset", 0), _number(byte_size, "byte_size", 1)
        self._check_allowed(key)
        with self._lock:
            self._check_room(name)  # before anything is opened
        object = _open(key)
        size = os.fstat(object.number).st_size
        if offset + byte_size > size:
            raise InvalidInput(
                f"Shared memory region {name!r} would be bytes {offset} to {offset + byte_size} of the "
                f"object {key!r}, which has {size}: make it larger, or register less of it."
            )
        with self._lock:
            self._check_room(name)
            self._regions[name] = _Region(name, key, offset, byte_size, object)

    def unregister(self, name: str) -> None:
        """Remove a region, if it exists; copies that have begun continue."""
        with self._lock:
            self._regions.pop(name, None)

    def unregister_all(self) -> None:
        with self._lock:
            self._regions = {}

    close = unregister_all

    def status(self, name: str | None = None) -> list[dict[str, Any]]:
        """All regions, or the named one. Raises NotFound."""
        with self._lock:
            regions = [self._find(name)] if name else list(self._regions.values())
        return [
            {"name": each.name, "key": each.key, "offset": each.offset, "byte_size": each.byte_size}
            for each in regions
        ]

    def check(self, name: str, offset: int, byte_size: int) -> None:
        """Raise the error that a read or write of `byte_size` bytes from a region's `offset` would raise.

        NotFound for an unknown region, InvalidInput for bytes outside it, Conflict if its object has been
        removed or shortened.
        """
        self._usable(name, offset, byte_size)

    def read(self, name: str, offset: int, byte_size: int) -> bytes:
        """A copy of a region's bytes. Raises like check(); the caller must limit how many are read."""
        region = self._usable(name, offset, byte_size)
        position, end = region.offset + offset, region.offset + offset + byte_size
        parts: list[bytes] = []
        with _told(region):
            while position < end:
                part = os.pread(region.object.number, min(end - position, READ_AT_ONCE), position)
                if not part:
                    raise region.too_short(position)
                parts.append(part)
                position += len(part)
        return b"".join(parts)

    def data(self, name: str, offset: int, byte_size: int) -> bytes | FilePart:
        """A region's bytes as the data of an input: a copy, or, if it is long, the part of the file.

        Raises like check(). A file that is shortened later fails the request with Conflict.
        """
        if byte_size <= READ_HERE:
            return self.read(name, offset, byte_size)
        region = self._usable(name, offset, byte_size)
        return FilePart(region.object.number, region.offset + offset, byte_size, region.object)

    def write(self, name: str, offset: int, data: bytes | memoryview) -> None:
        """Write bytes into a region. Raises like check(), and Conflict if the system has no memory left."""
        rest = memoryview(data).cast("B")
        region = self._usable(name, offset, len(rest))
        position = region.offset + offset
        with _told(region):
            # An object that has been shortened since the check grows again, but not beyond the region.
            while rest:
                written = os.pwrite(region.object.number, rest, position)
                position += written
                rest = rest[written:]

    def _usable(self, name: str, offset: int, byte_size: int) -> _Region:
        with self._lock:
            region = self._find(name)
        offset, byte_size = _number(offset, "offset", 0), _number(byte_size, "byte_size", 0)
        if offset + byte_size > region.byte_size:
            raise InvalidInput(
                f"The request asks for bytes {offset} to {offset + byte_size} of shared memory region "
                f"{name!r}, which has {region.byte_size}."
            )
        region.check_object()
        return region

    def _find(self, name: str) -> _Region:
        """The caller holds the lock."""
        region = self._regions.get(name)
        if region is None and not self.enabled:
            raise _off()
        if region is None:
            raise NotFound(f"There is no shared memory region {name!r}: register it first.")
        return region

    def _check_allowed(self, key: str) -> None:
        if not any(fnmatchcase(key.removeprefix("/"), pattern) for pattern in self._patterns):
            raise InvalidInput(
                f"Clients may not register the key {key!r}. "
                f"Allowed are {', '.join(self._patterns)}: the setting shared_memory of this server."
            )

    def _check_room(self, name: str) -> None:
        """The caller holds the lock."""
        if name in self._regions:
            raise Conflict(f"Shared memory region {name!r} is registered already: unregister it first.")
        if len(self._regions) >= MOST_REGIONS:
            raise Conflict(
                f"There are {MOST_REGIONS} shared memory regions, the most there may be: "
                "unregister one first."
            )


def _off() -> Unsupported:
    return Unsupported(
        "System shared memory is off. Start the server with --shared-memory "
        "(TRTSERVE_SHARED_MEMORY) and patterns of the keys that clients may register."
    )


def _open(key: str) -> _Descriptor:
    """Open the object of a key, like shm_open(3)."""
    component = key.removeprefix("/")
    if component in {"", ".", ".."} or "/" in component:
        raise InvalidInput(
            f"The key {key!r} names no shared memory object: a / is allowed only at its beginning."
        )
    try:
        object = _Descriptor(os.open(f"{FOLDER}/{component}".encode(), FLAGS))
    except OSError as failure:
        raise _refused(key, failure) from None
    if not stat.S_ISREG(os.fstat(object.number).st_mode):
        raise _no_object(key)
    return object


def _refused(key: str, failure: OSError) -> TrtserveError:
    if failure.errno == errno.ENOENT:
        return NotFound(f"There is no shared memory object {key!r} on this server's machine (or container).")
    if failure.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV}:
        return _no_object(key)
    if failure.errno == errno.ENAMETOOLONG:
        return InvalidInput("The key names no shared memory object: it is too long.")
    return Conflict(f"The shared memory object {key!r} cannot be opened: {failure.strerror}.")


def _no_object(key: str) -> InvalidInput:
    return InvalidInput(
        f"The key {key!r} names no shared memory object: in {FOLDER} it is a link, a folder or a device."
    )


@contextmanager
def _told(region: _Region) -> Iterator[None]:
    """Turn an OSError from a copy into a sentence."""
    try:
        yield
    except OSError as failure:
        raise Conflict(
            f"Shared memory region {region.name!r} cannot be used: {failure.strerror}."
        ) from failure


def _text(given: object, what: str) -> str:
    if not isinstance(given, str) or not given.isprintable() or not 1 <= len(given) <= LONGEST_NAME:
        raise InvalidInput(
            f"The {what} of a shared memory region is {shown(given)}; "
            f"it must have 1 to {LONGEST_NAME} printable characters."
        )
    return given


def _number(given: object, what: str, least: int) -> int:
    number = whole(given)
    if number is None or number < least:
        raise InvalidInput(
            f"The {what} in shared memory is {shown(given)}; it must be a whole number of bytes from {least}."
        )
    return number


def check_outputs(memory: Regions, selected: Selected, specs: Sequence[TensorSpec]) -> None:
    """Before execution, raise InvalidInput for an output that is known not to fit its place."""
    for index, place in selected:
        if isinstance(place, RegionPart):
            memory.check(place.name, place.offset, place.byte_size)
            spec = specs[index]
            known = spec.shape is not None and spec.datatype in DATATYPES  # strings have any length
            if known and spec.shape is not None and all(dim >= 0 for dim in spec.shape):
                size = math.prod(spec.shape) * DATATYPES[spec.datatype].size
                _check_room(spec, spec.shape, size, place)


def input_bytes(request: InferRequest, limit: int) -> int:
    """How many bytes of the request's inputs are in shared memory. Raises TooLarge if over `limit`."""
    size = sum(data.byte_size for *_, data in request.inputs if isinstance(data, RegionPart))
    if size > limit:
        raise TooLarge(
            f"The request's inputs in shared memory have {size} bytes, over this server's limit of {limit}: "
            "start it with a higher --max-request-bytes (TRTSERVE_MAX_REQUEST_BYTES)."
        )
    return size


def read_inputs(memory: Regions, request: InferRequest) -> tuple[object, ...]:
    """The data of every input, in order: finds what is in regions, and reads what is still unread."""
    return tuple([_read(memory, *tensor) for tensor in request.inputs])


def _read(memory: Regions, name: str, datatype: str, shape: list[int], data: object) -> object:
    if isinstance(data, Unread):
        return data.read(name, datatype, shape)
    if not isinstance(data, RegionPart):
        return data
    # Strings are checked before they run, so they must not change behind the check.
    read = memory.read if datatype == "BYTES" else memory.data
    return read(data.name, data.offset, data.byte_size)


def write_outputs(memory: Regions, selected: Selected, outputs: Sequence[Output]) -> None:
    """Write the outputs that go to shared memory: all of them, or none if one is larger than its place."""
    placed = [(outputs[index], place) for index, place in selected if isinstance(place, RegionPart)]
    for output, place in placed:
        _check_room(output, output.shape, memoryview(output).nbytes, place)
    for output, place in placed:
        memory.write(place.name, place.offset, memoryview(output))


def _check_room(output: Output | TensorSpec, shape: list[int], size: int, place: RegionPart) -> None:
    if size > place.byte_size:
        raise InvalidInput(
            f"Output {output.name!r}, {output.datatype} {shape}, has {size} bytes; the request gives it "
            f"{place.byte_size} bytes of the shared memory region {place.name!r}."
        )
