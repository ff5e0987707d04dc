"""The files of a folder on another machine, by fsspec: s3://, gs://, https:// and what else it knows."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs

from trtserve.errors import InvalidInput, TooLarge, Unavailable
from trtserve.folder.files import (
    BLOCK_BYTES,
    OF_ONE_PLACE,
    RETRY_AFTER_S,
    Denied,
    Entry,
    FilePath,
    Slow,
    check_entries,
)
from trtserve.text import cut, printable

PART_BYTES = 4 * BLOCK_BYTES  # of a file, per request: each costs a round trip
CONNECT_S, SILENT_S = 10, 30  # until a connection stands; for which it may send nothing
LOOK_S = 30.0  # for what is in a folder, or what a file is, with all attempts of a library
PART_S = 300.0  # for PART_BYTES of a file: 56 kB a second
STAMPED = (
    *("size", "ETag", "etag", "LastModified", "Last-Modified", "last_modified", "updated", "mtime"),
    *("generation", "md5Hash", "Content-MD5", "Digest"),
)
"""What file systems tell of a file that changes when it does."""


class RemoteFiles:
    """See Files. What fsspec's file systems raise is their own, so every exception counts as a failure.

    Requests of file systems that fsspec runs on its event loop (s3, gs, http and most others) have a time.
    """

    def __init__(self, url: str, setting: str) -> None:
        """Raises InvalidInput if fsspec, or what it needs for such a URL, is missing."""
        parts = urlsplit(url)
        self._secret = parts.netloc.rpartition("@")[0]  # user and password, which nobody is to see
        self.root = self._told(url)
        self._is_http = parts.scheme in {"http", "https"}
        try:
            self._fs, folder = url_to_fs(url, **_bounds(parts.scheme))
        except ImportError as failure:
            raise InvalidInput(
                f"{setting} is {self.root}, which needs more than is installed: pip install "
                f"'trtserve[remote]' ({cut(str(failure))})."
            ) from None
        except Exception as failure:
            raise InvalidInput(
                f"{setting} is {self.root}, which cannot be used: {self._told(failure)}."
            ) from None
        self._folder = folder.rstrip("/")
        self._is_timed = isinstance(self._fs, AsyncFileSystem)

    def entries(self, path: FilePath = ()) -> list[Entry]:
        place = self._place(path) + ("/" if self._is_http else "")
        try:
            found = self._timed(LOOK_S, self._fs.ls, place, detail=True)
            check_entries(self._told(place), len(found))
            entries = [self._entry(info, path) for info in found if _is_within(info, place)]
        except TooLarge:
            raise
        except Exception as failure:
            raise self._unreadable(path, failure) from failure
        return sorted(entry for entry in entries if not entry.name.startswith("."))

    def entry(self, path: FilePath) -> Entry:
        try:
            return self._entry(self._timed(LOOK_S, self._fs.info, self._place(path)), path[:-1])
        except Exception as failure:
            raise self._unreadable(path, failure) from failure

    def blocks(self, path: FilePath) -> Iterator[bytes]:
        place = self._place(path)
        try:
            if self._is_timed and not self._is_http:
                yield from self._in_parts(place)
                return
            # A server of HTTP need not have parts of files.
            size = 0 if self._is_http else PART_BYTES
            with self._fs.open(place, "rb", block_size=size, cache_type="readahead") as file:
                yield from _in_blocks(file.read)
        except Exception as failure:
            raise self._unreadable(path, failure) from failure

    def _in_parts(self, place: str) -> Iterator[bytes]:
        size = self._timed(LOOK_S, self._fs.info, place)["size"]
        for begin in range(0, size, PART_BYTES):
            end = min(begin + PART_BYTES, size)
            part = self._timed(PART_S, self._fs.cat_file, place, start=begin, end=end)
            for at in range(0, len(part), BLOCK_BYTES):
                yield part[at : at + BLOCK_BYTES]

    def _timed(self, seconds: float, request: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """What a request answers. Raises TimeoutError, and the request has ended then."""
        return request(*args, **more, **({"timeout": seconds} if self._is_timed else {}))

    def _entry(self, info: dict[str, Any], folder: FilePath) -> Entry:
        """From what the file system tells of it; of a list of links, each has to be asked for more."""
        name = _name(info)
        if info["type"] != "file":
            return Entry(name, True, None, "")
        if self._is_http and info.get("size") is None:
            info = self._timed(LOOK_S, self._fs.info, self._place([*folder, name]))
        told = {key: str(info[key]) for key in STAMPED if info.get(key) is not None}
        return Entry(name, False, info.get("size"), repr(told))

    def _place(self, path: FilePath) -> str:
        return "/".join([self._folder, *path])

    def _told(self, what: object) -> str:
        text = str(what)
        return text.replace(f"{self._secret}@", "") if self._secret else text

    def _unreadable(self, path: FilePath, failure: Exception) -> Unavailable:
        where = "/".join([self.root.rstrip("/"), *path])
        why = "it is not there" if isinstance(failure, FileNotFoundError) else self._told(failure)
        kind: type[Unavailable] = Unavailable
        if isinstance(failure, TimeoutError):
            least = f"{PART_BYTES / PART_S / 1000:.0f} kB a second"
            why = f"it is slow or silent: no answer within {LOOK_S:g} s, or less than {least}"
            kind = Slow if path else Unavailable
        elif path and isinstance(failure, OF_ONE_PLACE):
            kind = Denied
        told = f"{printable(where)} cannot be read: {cut(why or type(failure).__name__)}."
        return kind(told, retry_after=RETRY_AFTER_S)


def _in_blocks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What `read` reads piece by piece. Raises TimeoutError if it takes longer than it has for the bytes."""
    block, taken_s = bytearray(), 0.0
    while True:
        began = time.monotonic()
        piece = read(BLOCK_BYTES - len(block))
        taken_s += time.monotonic() - began
        block += piece
        if taken_s > PART_S * BLOCK_BYTES / PART_BYTES:
            raise TimeoutError
        if block and (len(block) == BLOCK_BYTES or not piece):
            yield bytes(block)
            block, taken_s = bytearray(), 0.0
        if not piece:
            return


def _bounds(scheme: str) -> dict[str, Any]:
    """For a file system: no memory of what it has listed, and an end to waiting."""
    told: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in {"s3", "s3a"}:
        told["config_kwargs"] = {"connect_timeout": CONNECT_S, "read_timeout": SILENT_S}
    elif scheme in {"http", "https"}:
        from aiohttp import ClientTimeout  # an ImportError is told by who asks

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENT_S)
        told |= {"client_kwargs": {"timeout": timeout}, "simple_links": False}
    return told


def _is_within(info: dict[str, Any], place: str) -> bool:
    """Whether it is in the folder: not the folder itself, and no link of a page to itself or elsewhere."""
    place = place.rstrip("/")
    name = info["name"].rstrip("/")
    return name.rpartition("/")[0] == place and "?" not in name and name != place


def _name(info: dict[str, Any]) -> str:
    return str(info["name"]).rstrip("/").rpartition("/")[2]
