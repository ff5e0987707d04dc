"""System shared memory that clients share with this server: tensors that do not travel over the network.

A region is a part of a POSIX shared memory object that a client made and has registered. Its bytes are read
and written through the object's descriptor, never through a mapping: a client can shorten its object at any
time, and the access to a page of a mapping that has lost its memory is a SIGBUS, which would end the server.
A read or write past the end is an error of that one call. A read is a copy, so what was checked is what runs.
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

from runtime_ext import Output, TensorSpec
from trtserve.codec import InferRequest, Selected
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import RegionPart, Unread
from trtserve.errors import Conflict, InvalidInput, NotFound, TooLarge, TrtserveError, Unsupported
from trtserve.settings import Settings
from trtserve.text import shown
from trtserve.whole import whole

FOLDER = Path("/dev/shm")  # where shm_open(3) of glibc and musl has its objects
# As shm_open's; O_NONBLOCK, which means nothing for a regular file, keeps the open of what is none short.
FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
MOST_REGIONS = 1024  # each holds a descriptor
LONGEST_NAME = 255  # of a file: NAME_MAX of Linux
READ_AT_ONCE = 1 << 30  # bytes; one call moves less than 2 GiB


class _Descriptor:
    """An open object, closed when the last region, or call that uses it, has let go of it.

    So a region that is unregistered while it is read leaves no number for another file to take.
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
        """Conflict where the object is gone, or has become too short."""
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
            f"the object {self.key!r}, which has only {size} now: it has become shorter since then. "
            "Make it long enough again, or register a smaller region."
        )


class Regions:
    """The regions that clients have registered. Thread safe; every method may block for as long as a copy."""

    def __init__(self, settings: Settings) -> None:
        patterns = (pattern.strip() for pattern in settings.shared_memory.split(","))
        self._patterns = [pattern.removeprefix("/") for pattern in patterns if pattern]
        self._lock = Lock()
        self._regions: dict[str, _Region] = {}  # guarded by _lock

    @property
    def enabled(self) -> bool:
        """Whether there are keys that clients may register."""
        return bool(self._patterns)

    def register(self, name: object, key: object, offset: object, byte_size: object) -> None:
        """Take a part of the object `key` as a region; the arguments are as the client gave them.

        Raises Unsupported where shared memory is off, Conflict for a name that is taken, NotFound for a key
        without an object, InvalidInput for what can never be a region.
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
        """Let go of a region, but for copies that have begun. One that is not there is no error."""
        with self._lock:
            self._regions.pop(name, None)

    def unregister_all(self) -> None:
        with self._lock:
            self._regions = {}

    close = unregister_all

    def status(self, name: str | None = None) -> list[dict[str, Any]]:
        """All regions, or that one; NotFound where it is none."""
        with self._lock:
            regions = [self._find(name)] if name else list(self._regions.values())
        return [
            {"name": each.name, "key": each.key, "offset": each.offset, "byte_size": each.byte_size}
            for each in regions
        ]

    def check(self, name: str, offset: int, byte_size: int) -> None:
        """Raise what a read or write of so many bytes from `offset` of a region on would be refused with.

        NotFound for an unknown region, InvalidInput for bytes that are not in it, and Conflict for one whose
        object has been removed or shortened.
        """
        self._usable(name, offset, byte_size)

    def read(self, name: str, offset: int, byte_size: int) -> bytes:
        """A copy of bytes of a region. Raises as check(); how many may be read is the caller's to limit."""
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

    def write(self, name: str, offset: int, data: bytes | memoryview) -> None:
        """Put bytes into a region. Raises as check(), and Conflict where the system has no memory left."""
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
                f"Bytes {offset} to {offset + byte_size} of shared memory region {name!r} are asked for, "
                f"which has {region.byte_size}."
            )
        region.check_object()
        return region

    def _find(self, name: str) -> _Region:
        """Needs the lock."""
        region = self._regions.get(name)
        if region is None and not self.enabled:
            raise _off()
        if region is None:
            raise NotFound(f"There is no shared memory region {name!r}: register it first.")
        return region

    def _check_allowed(self, key: str) -> None:
        if not any(fnmatchcase(key.removeprefix("/"), pattern) for pattern in self._patterns):
            raise InvalidInput(
                f"The key {key!r} is none that clients may register. "
                f"Allowed are {', '.join(self._patterns)}: the setting shared_memory of this server."
            )

    def _check_room(self, name: str) -> None:
        """Needs the lock."""
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
    """The object of a key, as shm_open(3) finds it."""
    component = key.removeprefix("/")
    if component in {"", ".", ".."} or "/" in component:
        raise InvalidInput(
            f"The key {key!r} names no shared memory object: it is one name without a / but at its beginning."
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
        f"The key {key!r} names no shared memory object: in {FOLDER} that is a link, a folder or a device."
    )


@contextmanager
def _told(region: _Region) -> Iterator[None]:
    """An OSError of a copy, as a sentence."""
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
            f"it is 1 to {LONGEST_NAME} printable characters."
        )
    return given


def _number(given: object, what: str, least: int) -> int:
    number = whole(given)
    if number is None or number < least:
        raise InvalidInput(
            f"The {what} in shared memory is {shown(given)}; it is a whole number of bytes, {least} or more."
        )
    return number


def check_outputs(memory: Regions, selected: Selected, specs: Sequence[TensorSpec]) -> None:
    """Refuse, before anything is executed, what is known not to fit the places that outputs have."""
    for index, place in selected:
        if isinstance(place, RegionPart):
            memory.check(place.name, place.offset, place.byte_size)
            spec = specs[index]
            if spec.shape is not None and all(dim >= 0 for dim in spec.shape):
                size = math.prod(spec.shape) * DATATYPES[spec.datatype].size
                _check_room(spec, spec.shape, size, place)


def input_bytes(request: InferRequest, limit: int) -> int:
    """How much the request's inputs have there; TooLarge where that is over the limit of a body."""
    size = sum(data.byte_size for *_, data in request.inputs if isinstance(data, RegionPart))
    if size > limit:
        raise TooLarge(
            f"The request's inputs in shared memory have {size} bytes, over this server's limit of {limit}: "
            "start it with a higher --max-request-bytes (TRTSERVE_MAX_REQUEST_BYTES)."
        )
    return size


def read_inputs(memory: Regions, request: InferRequest) -> tuple[object, ...]:
    """The data of every input, in their order."""
    return tuple([_read(memory, *tensor) for tensor in request.inputs])


def _read(memory: Regions, name: str, datatype: str, shape: list[int], data: object) -> object:
    if isinstance(data, Unread):
        return data.read(name, datatype, shape)
    return memory.read(data.name, data.offset, data.byte_size) if isinstance(data, RegionPart) else data


def write_outputs(memory: Regions, selected: Selected, outputs: Sequence[Output]) -> None:
    """Write the outputs that go there: all of them, or none where one is larger than its place."""
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
