"""A TorchScript archive is refused if torch.jit.save() cannot have written it."""

import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import runtime_ext
from runtime_ext.archive import MOST_UNPACKED_BYTES, check_archive

END = struct.Struct("<4sHHHHIIH")


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(100, 100)
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for size in self.sizes:
            x = torch.relu(self.layer(x)) * size
        return x


def saved() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Net()), file, _extra_files={"trtserve.json": "{}"})
    return file.getvalue()


SAVED = saved()


def rewritten(change: Callable[[str, bytes], tuple[str, bytes] | None], **how: int) -> bytes:
    """Write the archive again with Python's zipfile, each entry as `change` returns it; None: without it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(SAVED)) as before, zipfile.ZipFile(file, "w") as after:
        for entry in before.infolist():
            changed = change(entry.filename, before.read(entry))
            if changed is not None:
                after.writestr(*changed, compress_type=how.get("compress_type", zipfile.ZIP_STORED))
    return file.getvalue()


def with_entry(name: str, content: bytes = b"x", method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO(rewritten(lambda *entry: entry))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, content, compress_type=method)
    return file.getvalue()


def with_pickle(content: bytes) -> bytes:
    return rewritten(lambda name, data: (name, content if name.endswith("/data.pkl") else data))


def patched(offset: int, value: bytes) -> bytes:
    """The archive with other bytes at an offset, which may count from the end."""
    data = bytearray(SAVED)
    begin = offset if offset >= 0 else len(data) + offset
    data[begin : begin + len(value)] = value
    return bytes(data)


def refused(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(runtime_ext.Error) as failure:
        check_archive(path)
    assert failure.value.kind == "InvalidInput"
    assert str(path) not in str(failure.value)
    return str(failure.value)


def test_what_torch_saves_is_taken(tmp_path: Path) -> None:
    for number, content in enumerate((SAVED, rewritten(lambda *entry: entry))):
        path = tmp_path / str(number)
        path.write_bytes(content)
        check_archive(path)


@pytest.mark.parametrize("length", [0, 3, 21, 22, 500, len(SAVED) // 2, len(SAVED) - 1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    refused(tmp_path, SAVED[:length])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SAVED + b"x", "bytes behind its end"),
        (b"x" * 64 + SAVED, "does not lie between"),
        (SAVED + SAVED, "does not lie between"),
        (patched(-2, b"\1\0") + b"x", "bytes behind its end"),  # a comment
        (patched(-18, b"\1\0"), "several volumes"),
        (patched(-10, b"\1\0\0\0"), "two ends differ"),  # the size of the directory
        (patched(-6, b"\0\0\0\0"), "two ends differ"),  # its offset
        (with_entry("elsewhere/x"), "not in the folder of the others"),
        (with_entry("/etc/passwd"), "name '/etc/passwd'"),
        (with_entry("archive/../../x"), "not in the folder of the others"),
        (with_entry("archive/a\\b"), "name"),
        (with_entry("archive/folder/"), "name"),
        (with_entry("archive/" + "n" * 2000), "name"),
        (with_entry("archive/z", bytes(MOST_UNPACKED_BYTES + 1), zipfile.ZIP_DEFLATED), "unpack to"),
        (with_entry("archive/z", b"x" * 99, zipfile.ZIP_BZIP2), "compressed in a way"),
        (rewritten(lambda name, data: None if name.endswith("/data.pkl") else (name, data)), "no data.pkl"),
        (
            rewritten(lambda name, data: None if name.endswith("constants.pkl") else (name, data)),
            "no constants",
        ),
        (rewritten(lambda name, data: None if "/code/" in name else (name, data)), "holds no code"),
    ],
)
def test_a_zip_that_torch_does_not_write_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refused(tmp_path, content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_with_one_name_are_refused(tmp_path: Path) -> None:
    name = zipfile.ZipFile(io.BytesIO(SAVED)).namelist()[0]
    assert "two entries" in refused(tmp_path, with_entry(name))


def headers(data: bytes) -> list[int]:
    return [entry.header_offset for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (6, b"\1\x08", "differs from what the directory says"),  # encrypted, says the entry itself
        (8, b"\x08\0", "differs from what the directory says"),  # its method
        (30, b"n", "differs from what the directory says"),  # its name
    ],
)
def test_an_entry_that_differs_from_the_directory_is_refused(
    tmp_path: Path, field: int, value: bytes, reason: str
) -> None:
    assert reason in refused(tmp_path, patched(headers(SAVED)[1] + field, value))


def directory(data: bytes) -> list[int]:
    return [found.start() for found in re.finditer(b"PK\1\2", data)]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (8, b"\1\x08", "encrypted"),
        (16, b"\0\0\0\0", "two sizes or checksums"),
        (20, b"\1\0\0\0", "two sizes"),
        (24, b"\1\0\0\0", "two sizes"),
        (42, b"\5\0\0\0", "overlaps another"),
    ],
)
def test_a_directory_that_differs_from_the_entries_is_refused(
    tmp_path: Path, field: int, value: bytes, reason: str
) -> None:
    assert reason in refused(tmp_path, patched(directory(SAVED)[1] + field, value))


def test_entries_with_bytes_between_them_are_refused(tmp_path: Path) -> None:
    """Whoever reads the file from its beginning would see others than who reads its directory."""
    plain = rewritten(lambda *entry: entry)
    (*_, last) = headers(plain)
    start = END.unpack(plain[-END.size :])[6]
    hidden = plain[:start] + plain[last:start] + plain[start:]
    end = list(END.unpack(plain[-END.size :]))
    end[6] += start - last
    assert "bytes between its entries" in refused(tmp_path, hidden[: -END.size] + END.pack(*end))


def test_a_wrong_byte_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    name = next(n for n in zipfile.ZipFile(io.BytesIO(SAVED)).namelist() if n.endswith("/data/0"))
    begin = SAVED.index(name.encode()) + 2000
    assert "not a whole zip file" in refused(tmp_path, patched(begin, b"\x5a\xa5\x5a"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cos\nsystem\n.", "os.system"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n.", "torch.classes.quantized"),
        (b"ctorch._utils\n_rebuild_qtensor\n.", "_rebuild_qtensor"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n\x93.", "STACK_GLOBAL"),
        (b"(ios\nsystem\n.", "INST"),
        (b"(o.", "OBJ"),
        (b"\x82\1.", "EXT1"),
        (b"Pid\n.", "PERSID"),
        (b"\x80\2", "is damaged"),
        (b"\xff.", "is damaged"),
    ],
)
def test_a_pickle_with_more_than_tensors_and_own_classes_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    assert reason in refused(tmp_path, with_pickle(content))
