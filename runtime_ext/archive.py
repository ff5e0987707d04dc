"""Checks the file of a TorchScript module before any library reads it: the zip, and the pickles inside.

torch's reader of zips takes much that torch.jit.save() never writes, and its unpickler runs code of the
archive. So a file is refused if it differs from what torch.jit.save() writes: entries that overlap or lie
beside each other with gaps, that have two names or two sizes, are encrypted or unpack to more than they may,
and pickles that name anything but tensors and the module's own classes. Layout: PKWARE's APPNOTE 6.3.10, and
torch/csrc/jit/docs/serialization.md.
"""

import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

from runtime_ext import Error, ModuleInspection, Runtime

MOST_ENTRIES = 100_000
MOST_UNPACKED_BYTES = 64 * 1024**2  # of all entries that are compressed: code, never tensors
MOST_PICKLE_BYTES = 64 * 1024**2  # of all pickles
MOST_NAME_BYTES = 1024
CHUNK_BYTES = 1024**2

END = struct.Struct("<4sHHHHIIH")  # the end of the central directory
LOCATOR = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQHHIIQQQQ")
LOCAL = struct.Struct("<4sHHHHHIIIHH")
DESCRIBED, UTF8 = 0x0008, 0x0800  # flags: sizes follow the data; the name is UTF-8
DESCRIPTOR_BYTES = {16, 24}  # with a signature, and sizes of 32 or 64 bits
PART = re.compile(r"[^/\\\x00-\x1f\x7f]+")

OPCODES = frozenset(
    {
        *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINSTRING", "BINSTRING", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
        *("GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    }
)
"""What torch's pickler writes (torch/csrc/jit/serialization/pickler_helper.h)."""

GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch device",
        "torch._utils _rebuild_tensor_v2",
        *(f"torch.jit._pickle {name}" for name in ("restore_type_tag", "build_tensorlist", "build_intlist")),
        *(f"torch.jit._pickle {name}" for name in ("build_boollist", "build_doublelist")),
    }
)
STORAGE = re.compile(r"torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage")
OWN_CLASS = re.compile(r"__torch__(\.[\w.]+)? \w+")
CUSTOM_CLASS = "__torch__.torch.classes"
OUR_CLASS = "__torch__.torch.classes.trt Engine"


def inspect_module(runtime: Runtime, path: Path, tensors: str) -> ModuleInspection:
    """Check a module's file and say what it takes, returns and calls; see Runtime.inspect_module. Blocks."""
    check_archive(path)
    return runtime.inspect_module(str(path), tensors)


def check_archive(path: Path) -> None:
    """Raise InvalidInput, with what is wrong, unless torch.jit.save() may have written the file. Blocks.

    Takes time and memory in proportion to the file.
    """
    with path.open("rb") as file:
        try:
            _check_end(file)
            with zipfile.ZipFile(file) as archive:
                _check(archive, file)
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as failure:
            _refuse(f"it is not a whole zip file: {failure}")
        except (UnicodeDecodeError, OverflowError, ValueError) as failure:
            _refuse(f"it is damaged: {failure}")


def _refuse(why: str) -> NoReturn:
    failure = Error(f"The module's file cannot be used: {why}. Save it again with torch.jit.save().")
    failure.kind, failure.retry_after = "InvalidInput", None
    raise failure


def _check_end(file: IO[bytes]) -> None:
    """Check the records behind the directory, before it is read: they say how much there is to read."""
    length = file.seek(0, 2)
    file.seek(max(0, length - END.size - LOCATOR.size - END64.size))
    tail = file.read()
    if len(tail) < END.size:
        _refuse("it is too short for a zip file")
    magic, disk, first, here, total, size, offset, comment = END.unpack(tail[-END.size :])
    if magic != b"PK\x05\x06" or comment:
        _refuse("it has bytes behind its end, or its end is missing")
    if disk or first or here != total:
        _refuse("it is one of several volumes")
    entries, end = total, length - END.size
    if tail[-END.size - LOCATOR.size :].startswith(b"PK\x06\x07"):
        end -= LOCATOR.size + END64.size
        record = END64.unpack(tail[: END64.size])
        magic64, _, _, _, disk64, first64, here64, entries, size64, offset64 = record
        if magic64 != b"PK\x06\x06" or disk64 or first64 or here64 != entries:
            _refuse("its 64-bit end is damaged")
        for told, told64, most in (
            (total, entries, 0xFFFF),
            (size, size64, 2**32 - 1),
            (offset, offset64, 2**32 - 1),
        ):
            if told not in {told64, most}:
                _refuse("its two ends differ")
        size, offset = size64, offset64
    if entries > MOST_ENTRIES:
        _refuse(f"it has {entries} entries, and {MOST_ENTRIES} are allowed")
    if offset + size != end:
        _refuse("its directory does not lie between its entries and its end")


def _check(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    entries = archive.infolist()
    _check_names([entry.filename for entry in entries])
    unpacked = 0
    for entry in entries:
        if entry.flag_bits & ~(DESCRIBED | UTF8):
            _refuse(f"its entry {entry.filename} is encrypted, or made in a way that is not supported")
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            _refuse(f"its entry {entry.filename} is compressed in a way that is not supported")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            _refuse(f"its entry {entry.filename} has two sizes")
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            unpacked += entry.file_size
    if unpacked > MOST_UNPACKED_BYTES:
        _refuse(f"its compressed entries unpack to {unpacked} bytes, and {MOST_UNPACKED_BYTES} are allowed")
    _check_layout(archive, file)
    top = entries[0].filename.partition("/")[0]
    _check_content(archive, top, {entry.filename for entry in entries})
    pickles = 0
    for entry in entries:
        if entry.filename.endswith(("pkl", ".pickle")):
            pickles += entry.file_size
            if pickles > MOST_PICKLE_BYTES:
                _refuse(f"its pickles have more than {MOST_PICKLE_BYTES} bytes")
            _check_pickle(entry.filename, archive.read(entry))
        else:
            with archive.open(entry) as content:  # compares the checksum
                while content.read(CHUNK_BYTES):
                    pass


def _check_names(names: list[str]) -> None:
    if not names:
        _refuse("it is empty")
    seen = set()
    for name in names:
        parts = name.split("/")
        if len(name.encode(errors="replace")) > MOST_NAME_BYTES or not all(map(PART.fullmatch, parts)):
            _refuse(f"it has an entry with the name {name[:80]!r}")
        if ".." in parts or "." in parts or len(parts) < 2 or parts[0] != names[0].partition("/")[0]:
            _refuse(f"its entry {name[:80]!r} is not in the folder of the others")
        if name in seen:
            _refuse(f"it has two entries with the name {name[:80]}")
        seen.add(name)


def _check_layout(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    """Check that the entries follow one another from the first byte to the directory, as each says itself."""
    at = 0
    for entry in sorted(archive.infolist(), key=lambda each: each.header_offset):
        if entry.header_offset != at:
            _refuse(f"its entry {entry.filename} overlaps another, or there are bytes between them")
        file.seek(at)
        magic, _, flags, method, _, _, _, packed, size, name, extra = LOCAL.unpack(file.read(LOCAL.size))
        said = file.read(name)
        if (
            magic != b"PK\x03\x04"
            or (flags, method) != (entry.flag_bits, entry.compress_type)
            or said != entry.orig_filename.encode("utf-8" if flags & UTF8 else "cp437")
        ):
            _refuse(f"its entry {entry.filename} differs from what the directory says of it")
        if not flags & DESCRIBED and (packed, size) not in {
            (entry.compress_size, entry.file_size),
            (2**32 - 1, 2**32 - 1),
        }:
            _refuse(f"its entry {entry.filename} has two sizes")
        at += LOCAL.size + name + extra + entry.compress_size
        if flags & DESCRIBED:
            at += _descriptor_bytes(file, at, entry)
    if at != archive.start_dir:
        _refuse("there are bytes between its entries and its directory")


def _descriptor_bytes(file: IO[bytes], at: int, entry: zipfile.ZipInfo) -> int:
    """The length of the record with checksum and sizes behind an entry's data."""
    file.seek(at)
    record = file.read(max(DESCRIPTOR_BYTES))
    for layout in ("<4sIQQ", "<4sIII"):
        length = struct.calcsize(layout)
        if len(record) >= length and struct.unpack(layout, record[:length]) == (
            b"PK\x07\x08",
            entry.CRC,
            entry.compress_size,
            entry.file_size,
        ):
            return length
    _refuse(f"its entry {entry.filename} has two sizes or checksums")


def _check_content(archive: zipfile.ZipFile, top: str, names: set[str]) -> None:
    for needed in ("data.pkl", "constants.pkl", "version"):
        if f"{top}/{needed}" not in names:
            _refuse(f"it has no {needed}, which every TorchScript archive has")
    if not any(name.startswith(f"{top}/code/") for name in names):
        _refuse("it holds no code")


def _check_pickle(name: str, content: bytes) -> None:
    """Check the operations of a pickle, without running them."""
    for operation, argument in _operations(name, content):
        if operation not in OPCODES:
            _refuse(f"its pickle {name} has the operation {operation}, which torch.jit.save() does not write")
        if operation == "GLOBAL" and not _is_allowed(str(argument)):
            _refuse(f"its pickle {name} names {str(argument)[:120].replace(' ', '.')}, which is not allowed")


def _operations(name: str, content: bytes) -> Iterator[tuple[str, object]]:
    try:
        for operation, argument, _ in pickletools.genops(content):
            yield operation.name, argument
    except Exception as failure:  # pickletools raises whatever its readers raise
        _refuse(f"its pickle {name} is damaged: {failure}")


def _is_allowed(said: str) -> bool:
    if said.startswith(CUSTOM_CLASS):
        return said == OUR_CLASS
    return said in GLOBALS or bool(STORAGE.fullmatch(said)) or bool(OWN_CLASS.fullmatch(said))
