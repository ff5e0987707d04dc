"""The files of a folder on another machine, by fsspec: s3://, gs://, https:// and what else it knows."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from trtserve.errors import InvalidInput, TooLarge, Unavailable
from trtserve.folder.files import (
    BLOCK_BYTES,
    OF_ONE_PLACE,
    RETRY_AFTER_S,
    Denied,
    Entry,
    FilePath,
    check_entries,
)
from trtserve.text import cut, printable

READ_AHEAD_BYTES = 4 * BLOCK_BYTES  # per request: each costs a round trip
CONNECT_S, SILENT_S = 10, 30  # until a connection stands; for which it may send nothing
STAMPED = (
    *("size", "ETag", "etag", "LastModified", "Last-Modified", "last_modified", "updated", "mtime"),
    *("generation", "md5Hash", "Content-MD5", "Digest"),
)
"""What file systems tell of a file that changes when it does."""


class RemoteFiles:
    """See Files. What fsspec's file systems raise is their own, so every exception counts as a failure."""

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

    def entries(self, path: FilePath = ()) -> list[Entry]:
        place = self._place(path) + ("/" if self._is_http else "")
        try:
            found = self._fs.ls(place, detail=True)
            check_entries(self._told(place), len(found))
            entries = [self._entry(info, path) for info in found if _is_within(info, place)]
        except TooLarge:
            raise
        except Exception as failure:
            raise self._unreadable(path, failure) from failure
        return sorted(entry for entry in entries if not entry.name.startswith("."))

    def entry(self, path: FilePath) -> Entry:
        try:
            return self._entry(self._fs.info(self._place(path)), path[:-1])
        except Exception as failure:
            raise self._unreadable(path, failure) from failure

    def blocks(self, path: FilePath) -> Iterator[bytes]:
        try:
            with self._fs.open(
                self._place(path), "rb", block_size=READ_AHEAD_BYTES, cache_type="readahead"
            ) as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
        except Exception as failure:
            raise self._unreadable(path, failure) from failure

    def _entry(self, info: dict[str, Any], folder: FilePath) -> Entry:
        """From what the file system tells of it; of a list of links, each has to be asked for more."""
        name = _name(info)
        if info["type"] != "file":
            return Entry(name, True, None, "")
        if self._is_http and info.get("size") is None:
            info = self._fs.info(self._place([*folder, name]))
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
        told = f"{printable(where)} cannot be read: {cut(why or type(failure).__name__)}."
        kind = Denied if path and isinstance(failure, OF_ONE_PLACE) else Unavailable
        return kind(told, retry_after=RETRY_AFTER_S)


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
