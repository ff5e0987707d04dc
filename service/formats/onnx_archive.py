"""Archives of an ONNX model and the files that hold its tensors."""

import tarfile
import zlib

from trtserve.formats.format import Format, Sniffed
from trtserve.formats.zip_head import ZIP_HEADER, zip_names

GZIP = b"\x1f\x8b"
TAR_BLOCK = 512
LONG_NAMES = {tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME}  # entries that tell the name of the next
UNPACKED = 65_536  # bytes of a .tar.gz that are looked at
MOST_ENTRIES = 1024  # of a tar; who looks at them holds up the event loop


def recognise_archive(head: bytes) -> Sniffed | None:
    """A zip or a tar, also gzipped, in whose beginning is a file named *.onnx."""
    kind = ""
    if head.startswith(ZIP_HEADER):
        kind = "zip" if any(name.endswith(".onnx") for name, _ in zip_names(head)) else ""
    elif head.startswith(GZIP):
        kind = "tar.gz" if _tar_has_model(_unzipped(head)) else ""
    elif head[257:262] == b"ustar":
        kind = "tar" if _tar_has_model(head) else ""
    return Sniffed(f"a {kind} archive with an ONNX model", Format.ONNX, archived=True) if kind else None


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, UNPACKED)
    except zlib.error:
        return b""


def _tar_has_model(head: bytes) -> bool:
    at = 0
    for _ in range(MOST_ENTRIES):
        if at + TAR_BLOCK > len(head):
            return False
        try:
            info = tarfile.TarInfo.frombuf(head[at : at + TAR_BLOCK], "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return False
        if info.size < 0:  # as GNU tar's way to write large sizes allows: the next entry would come before
            return False
        told = head[at + TAR_BLOCK : at + TAR_BLOCK + info.size] if info.type in LONG_NAMES else b""
        if info.name.endswith(".onnx") or b".onnx" in told:
            return True
        at += TAR_BLOCK + (info.size + TAR_BLOCK - 1) // TAR_BLOCK * TAR_BLOCK
    return False
