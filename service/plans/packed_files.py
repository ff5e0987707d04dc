"""The files in a zip or a tar that somebody uploads, unpacked one behind the other into one unnamed file.

Nobody trusts the archive: how many files it has and what they unpack to are bounded, whatever it says of
them, and nothing but plain files with plain names is taken. No name in it becomes one on this machine.
Layouts: PKWARE's APPNOTE 6.3.10; POSIX pax, with GNU's long names.
"""

import errno
import gzip
import os
import posixpath
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from trtserve.errors import InvalidInput, TooLarge
from trtserve.formats.onnx_archive import GZIP
from trtserve.formats.zip_head import ZIP_HEADER
from trtserve.text import shown

MOST_FILES = 4096
MOST_DIRECTORY_BYTES = 4 * 1024**2  # of a zip, and of the long names of a tar
LONGEST_NAME = 1024
CHUNK_BYTES = 1024**2
END = struct.Struct("<4sHHHHIIH")  # of a zip's directory; a comment of up to 64 KiB may follow
BLOCK = 512  # of a tar
LENGTH_DIGITS = 16  # of a record in a pax header, with the space behind them
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, struct.error),
    *(ValueError, NotImplementedError, RuntimeError, OverflowError),
    OSError,  # EINVAL of a seek to a place that a zip tells of; others are the disk's
)
"""What Python's readers raise for archives that are damaged."""


@dataclass
class PackedFiles:
    """Where each file begins in `unpacked`, and how many bytes it has. Belongs to one thread."""

    unpacked: IO[bytes]
    limit: int  # bytes of all files together
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    _end: int = 0

    def close(self) -> None:
        self.unpacked.close()

    def add(self, name: str, content: Iterator[bytes]) -> None:
        """Append a file. Raises InvalidInput for its name, and TooLarge."""
        plain = posixpath.normpath(name)
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
            refuse(
                f"it has the file {shown(name)}; a name must lead to a place within the archive, and have "
                "printable characters and no backslash"
            )
        if len(name) > LONGEST_NAME:
            refuse(f"a name in it has {len(name)} characters; at most {LONGEST_NAME} are allowed")
        if plain in self.places:
            refuse(f"it has the file {shown(plain)} twice")
        if len(self.places) >= MOST_FILES:
            refuse(f"it has more files than the {MOST_FILES} that are allowed")
        begin = self._end
        for chunk in content:
            self._end += len(chunk)
            if self._end > self.limit:
                raise TooLarge(
                    f"The model's files have more than {self.limit} bytes together, this server's limit: "
                    "start it with a higher --max-plan-bytes (TRTSERVE_MAX_PLAN_BYTES)."
                )
            self.unpacked.write(chunk)
        self.places[plain] = begin, self._end - begin


def refuse(why: str) -> NoReturn:
    raise InvalidInput(f"The archive cannot be used: {why}.")


def refuse_sparse(name: str) -> NoReturn:
    refuse(f"{shown(name)} in it is sparse, which keeps only a part of its bytes: pack it without --sparse")


def refuse_special(name: str) -> NoReturn:
    refuse(
        f"{shown(name)} in it is a link or a device: pack the files that links lead to (tar --dereference)"
    )


def unpack(archive: Path, limit: int) -> PackedFiles:
    """The files of an archive; `limit` bounds their bytes together. Blocks.

    Raises InvalidInput for what is wrong with it, and TooLarge.
    """
    # A file without a name, so that nothing of it is left whatever happens.
    files = PackedFiles(tempfile.TemporaryFile(dir=archive.parent), limit)  # noqa: SIM115
    try:
        with archive.open("rb") as opened:
            head = opened.read(len(ZIP_HEADER))
            opened.seek(0)
            if head == ZIP_HEADER:
                _unpack_zip(opened, files)
            elif head.startswith(GZIP):
                with gzip.GzipFile(fileobj=opened) as plain:
                    _unpack_tar(plain, files)
            else:
                _unpack_tar(opened, files)
        files.unpacked.flush()
    except DAMAGED as why:
        files.close()
        if isinstance(why, OSError) and not isinstance(why, gzip.BadGzipFile) and why.errno != errno.EINVAL:
            raise
        refuse(f"it is damaged or not whole: {why}")
    except BaseException:
        files.close()
        raise
    return files


def _unpack_zip(opened: IO[bytes], files: PackedFiles) -> None:
    _check_end(opened)
    with zipfile.ZipFile(opened) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
                refuse_special(info.filename)
            if info.flag_bits & 1:
                refuse("it is encrypted")
            if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                refuse(
                    f"{shown(info.filename)} in it is compressed in a way that this server does not read: "
                    "store or deflate it, as zip does by default"
                )
            with archive.open(info) as content:
                files.add(info.orig_filename, iter(lambda: content.read(CHUNK_BYTES), b""))


def _check_end(opened: IO[bytes]) -> None:
    """Refuse a directory that is too long to be read."""
    length = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, length - END.size - 2**16))
    tail = opened.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < END.size:
        refuse("it is damaged or not whole: its directory is missing")
    *_, entries, size, _, _ = END.unpack_from(tail, at)
    if b"PK\x06\x07" in tail[max(0, at - 20) : at]:
        # An ONNX file has at most 2 GiB.
        refuse(
            "it is a zip for more than 4 GiB or 65535 files (ZIP64): pack it as an ordinary zip, or as a tar"
        )
    if entries > MOST_FILES or size > MOST_DIRECTORY_BYTES:
        refuse(f"it has {entries} entries in a directory of {size} bytes; at most {MOST_FILES} are allowed")


def _unpack_tar(opened: IO[bytes] | gzip.GzipFile, files: PackedFiles) -> None:
    long_name = ""
    told = 0
    for _ in range(4 * MOST_FILES):  # entries, with those that only tell of the next
        header = opened.read(BLOCK)
        if not header.strip(b"\0"):
            return  # the end, or a block of zeros before it
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if info.size < 0:  # GNU tar's way to write large sizes has a sign
            refuse(f"it is damaged: {shown(info.name)} in it has the size {info.size}, which is negative")
        if info.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME}:
            told += info.size
            if told > MOST_DIRECTORY_BYTES:
                refuse(
                    f"the names in it have more than {MOST_DIRECTORY_BYTES} bytes together, the most allowed"
                )
            told_of_next = b"".join(_content(opened, info.size))
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = told_of_next.rstrip(b"\0").decode(errors="surrogateescape")
            elif info.type == tarfile.XHDTYPE:
                long_name = _pax_path(told_of_next) or long_name
            continue
        name, long_name = long_name or info.name, ""
        if info.type == tarfile.GNUTYPE_SPARSE:
            refuse_sparse(name)
        elif info.isreg():
            files.add(name.removeprefix("./"), _content(opened, info.size))
        elif not info.isdir():
            refuse_special(name)
    refuse(f"it has more files than the {MOST_FILES} that are allowed")


def _content(opened: IO[bytes] | gzip.GzipFile, size: int) -> Iterator[bytes]:
    """The bytes of an entry; afterwards, its padding has been read too."""
    left = size
    while left:
        chunk = opened.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise EOFError("it ends in the middle of a file")
        left -= len(chunk)
        yield chunk
    opened.read(-size % BLOCK)


def _pax_path(records: bytes) -> str:
    """The path in the records of a pax header, each "LENGTH KEY=VALUE\\n"; empty if there is none."""
    path, at = "", 0
    while at < len(records):
        length, _, _ = records[at : at + LENGTH_DIGITS].partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(records) - at:
            refuse("it is damaged: a pax header in it cannot be read")
        key, _, value = records[at + len(length) + 1 : at + int(length)].partition(b"=")
        at += int(length)
        if key == b"size":
            refuse("it has a file of more than 8 GiB, and an ONNX model has at most 2 GiB")
        if key == b"path":
            path = value.rstrip(b"\n").decode(errors="surrogateescape")
        if key.startswith(b"GNU.sparse."):
            refuse_sparse(path)
    return path
