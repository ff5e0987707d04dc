"""TorchScript modules: archives that torch.jit.save() writes."""

import re
import struct

from trtserve.formats.format import Format, Sniffed
from trtserve.formats.zip_head import ZIP_HEADER, ZIP_HEADER_BYTES, zip_names

FIRST_OPCODES = 256  # bytes of a pickle, in which it names the class of the module
FIRST_TENSOR = re.compile(r"[^/]+/data/[0-9]+")  # torch.save() writes these behind data.pkl


def recognise_module(head: bytes) -> Sniffed | None:
    """A TorchScript archive: a zip that begins with the tensors of a module, or holds code.

    torch.jit.save() writes extra files, tensors, data.pkl and the code, in this order
    (torch/csrc/jit/serialization/export_module.cpp).
    """
    if not head.startswith(ZIP_HEADER):
        return None
    first = True
    for name, header in zip_names(head):
        if (
            (first and FIRST_TENSOR.fullmatch(name))
            or "/code/" in name
            or (name.endswith("/data.pkl") and _holds_module(head, header))
        ):
            return Sniffed("a TorchScript archive (.pt)", Format.TORCHSCRIPT)
        first = first and "/extra/" in name
    return None


def _holds_module(head: bytes, header: int) -> bool:
    """True if the pickle of this entry begins with an object of a compiled class."""
    name, extra = struct.unpack_from("<HH", head, header + ZIP_HEADER_BYTES - 4)
    begin = header + ZIP_HEADER_BYTES + name + extra
    return b"c__torch__" in head[begin : begin + FIRST_OPCODES]
