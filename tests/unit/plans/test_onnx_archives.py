"""Archives of an ONNX model and its data: what becomes one file, and what is refused."""

import asyncio
import gzip
import io
import os
import stat
import subprocess
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.unit.plans.external_data import external, model
from trtserve.errors import InvalidInput, TooLarge
from trtserve.formats import varint
from trtserve.formats.format import Format
from trtserve.formats.sniff import sniff
from trtserve.plans.onnx_archives import joined_archive
from trtserve.store.staging import PlanWriter, StagedPlan

pytestmark = pytest.mark.anyio

LIMIT = 1_000_000


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    return archive.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w", format: int = tarfile.PAX_FORMAT) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode, format=format) as writer:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            writer.addfile(info, io.BytesIO(content))
    return archive.getvalue()


PACKERS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "zip": zipped,
    "stored zip": lambda files: zipped(files, zipfile.ZIP_STORED),
    "tar": tarred,
    "tar.gz": lambda files: tarred(files, "w:gz"),
    "GNU tar": lambda files: tarred(files, format=tarfile.GNU_FORMAT),
}


async def join(folder: Path, archive: bytes, limit: int = LIMIT) -> bytes:
    """The joined file; in any case, nothing else is left."""
    incoming = folder / "incoming"
    incoming.mkdir(exist_ok=True)
    path = incoming / "upload.part"
    path.write_bytes(archive)
    try:
        plan = await joined_archive(StagedPlan(path, "", len(archive)), lambda: PlanWriter(incoming), limit)
    except Exception:
        assert not list(incoming.iterdir())
        raise
    assert list(incoming.iterdir()) == [plan.path]
    joined = plan.path.read_bytes()
    assert plan.size == len(joined)
    return joined


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("one_file", [True, False], ids=["one file", "a file for each tensor"])
async def test_a_model_and_its_data_become_the_model_with_its_data(
    tmp_path: Path, packer: str, one_file: bool
) -> None:
    files = external(tmp_path / "model", one_file=one_file)
    archive = PACKERS[packer]({f"{'d' * 120}/net/{name}": content for name, content in files.items()})
    sniffed = sniff(archive)
    assert (sniffed.format, sniffed.archived) == (Format.ONNX, True)
    joined = await join(tmp_path, archive)
    assert onnx.load_from_string(joined) == model()


async def test_a_model_without_external_data_stays_as_it_is(tmp_path: Path) -> None:
    content = model().SerializeToString()
    assert await join(tmp_path, zipped({"m.onnx": content, "read.me": b"x"})) == content


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"weights.bin": None}, "'weights.bin', which the archive does not have beside the model"),
        ({"weights.bin": b"x" * 10}, "which has 10: it is not whole"),
        ({"second.onnx": b"x"}, "it must have one file named"),
        ({"model.onnx": b"\x0a\xff"}, "not a whole ONNX file"),
        ({"../evil": b"x"}, "must lead to a place within the archive"),
        ({"/etc/evil": b"x"}, "must lead to a place within the archive"),
        ({"a\\b": b"x"}, "no backslash"),
        ({"./weights.bin": b"x"}, "'weights.bin' twice"),
        ({"n" * 2000: b"x"}, "a name in it has 2000 characters"),
        (dict.fromkeys(map(str, range(5000)), b""), "at most 4096|more files than the 4096"),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("packer", ["zip", "tar"])
async def test_what_is_wrong_with_an_archive_is_said(
    tmp_path: Path, packer: str, change: Mapping[str, bytes | None], why: str
) -> None:
    files = external(tmp_path / "model") | change
    with pytest.raises(InvalidInput, match=why):
        await join(
            tmp_path, PACKERS[packer]({name: data for name, data in files.items() if data is not None})
        )


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin"])
async def test_data_outside_the_archive_is_not_read(tmp_path: Path, location: str) -> None:
    files = external(tmp_path / "model")
    named = onnx.load_from_string(files["model.onnx"])
    for tensor in named.graph.initializer:
        tensor.external_data[0].value = location
    with pytest.raises(InvalidInput, match="does not have beside the model"):
        await join(tmp_path, zipped(files | {"model.onnx": named.SerializeToString()}))


@pytest.mark.parametrize(("key", "value"), [("offset", "-1"), ("length", "1e3"), ("offset", "9" * 30)])
async def test_a_place_that_is_no_number_is_refused(tmp_path: Path, key: str, value: str) -> None:
    files = external(tmp_path / "model")
    named = onnx.load_from_string(files["model.onnx"])
    for entry in named.graph.initializer[0].external_data:
        entry.value = value if entry.key == key else entry.value
    with pytest.raises(InvalidInput, match=f"has the {key}"):
        await join(tmp_path, zipped(files | {"model.onnx": named.SerializeToString()}))


@pytest.mark.parametrize("packer", ["zip", "tar.gz"])
async def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, packer: str) -> None:
    bomb = PACKERS[packer]({"model.onnx": model().SerializeToString(), "zeros": bytes(10 * LIMIT)})
    assert len(bomb) < LIMIT / 10
    with pytest.raises(TooLarge, match="--max-plan-bytes"):
        await join(tmp_path, bomb)


async def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("weights.bin")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("model.onnx", b"x")
        writer.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidInput, match=r"'weights.bin' in it is a link or a device"):
        await join(tmp_path, archive.getvalue())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("weights.bin")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    with pytest.raises(InvalidInput, match="is a link or a device: pack the files that links lead to"):
        await join(tmp_path, packed.getvalue())


@pytest.mark.parametrize("packer", PACKERS)
async def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, packer: str) -> None:
    whole = PACKERS[packer](external(tmp_path / "model"))
    length = len(whole.rstrip(b"\0"))  # a tar ends with zeros
    for part in (length // 3, length // 2):
        with pytest.raises(InvalidInput):
            await join(tmp_path, whole[:part])


@pytest.mark.parametrize("packer", PACKERS)
async def test_no_damage_does_more_than_a_refusal(tmp_path: Path, packer: str) -> None:
    whole = PACKERS[packer](external(tmp_path / "model"))
    numbers = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in numbers.integers(0, len(damaged), 4):
            damaged[at] = os.urandom(1)[0]
        try:
            await join(tmp_path, bytes(damaged))
        except (InvalidInput, TooLarge):
            continue
        for left in (tmp_path / "incoming").iterdir():
            left.unlink()


def sized(name: str, size: int, content: bytes = b"") -> bytes:
    """A file in a tar that says that it has `size` bytes, which may be negative."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["tar", "tar.gz"])
@pytest.mark.parametrize("size", [-1, -2, -tarfile.BLOCKSIZE, -(2**40)])
async def test_a_file_with_less_than_no_bytes_is_refused(
    tmp_path: Path, packed: Callable[[bytes], bytes], size: int
) -> None:
    archive = sized("a", size) + tarred({"model.onnx": model().SerializeToString()})
    assert sniff(packed(archive)).format is None  # it ends
    whole = tarred({"model.onnx": model().SerializeToString()}).rstrip(b"\0")
    behind = whole + bytes(-len(whole) % tarfile.BLOCKSIZE) + sized("weights.bin", size, bytes(LIMIT))
    assert sniff(packed(behind)).archived
    with pytest.raises(InvalidInput, match="in it has the size -"):
        await join(tmp_path, packed(behind))


@pytest.mark.parametrize("format", ["gnu", "posix"])
async def test_a_sparse_file_is_refused(tmp_path: Path, format: str) -> None:
    files = external(tmp_path / "model")
    for name, content in files.items():
        (tmp_path / "model" / name).write_bytes(content)
    with (tmp_path / "model" / "weights.bin").open("r+b") as weights:
        weights.truncate(LIMIT)  # its end is a hole
    tar = ["tar", "--sparse", f"--format={format}", "-C", str(tmp_path / "model"), "-cf", "-", *files]
    packed = await asyncio.to_thread(subprocess.run, tar, check=True, capture_output=True, timeout=60)
    archive = packed.stdout
    assert len(archive) < LIMIT
    with pytest.raises(InvalidInput, match="is sparse, which keeps only a part of its bytes"):
        await join(tmp_path, archive)


async def test_a_pax_header_of_many_records_is_read_once(tmp_path: Path) -> None:
    # As many as the names of an archive may have bytes; to read all behind each would take an hour.
    records = b"6 a=b\n" * (4 * 1024**2 // 6)
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    archive = info.tobuf() + records + bytes(-len(records) % tarfile.BLOCKSIZE)
    content = model().SerializeToString()
    assert await join(tmp_path, archive + tarred({"model.onnx": content})) == content


@pytest.mark.parametrize("records", [b"1 a=b\n", b"0 a=b\n", b"x", b"99999 a=b\n", b"9" * 5000 + b" a=b\n"])
async def test_a_pax_header_that_is_damaged_is_refused(tmp_path: Path, records: bytes) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    archive = info.tobuf() + records + bytes(-len(records) % tarfile.BLOCKSIZE)
    with pytest.raises(InvalidInput, match="a pax header in it cannot be read"):
        await join(tmp_path, archive + tarred({"model.onnx": b"x"}))


async def test_a_model_that_uses_the_same_bytes_often_is_refused(tmp_path: Path) -> None:
    files = external(tmp_path / "model") | {"weights.bin": bytes(LIMIT // 4)}
    named = onnx.load_from_string(files["model.onnx"])
    tensor = named.graph.initializer[0]
    del tensor.external_data[1:]  # all of the file
    named.graph.initializer.extend([tensor] * 8)
    with pytest.raises(
        TooLarge, match="The model and its data are over this server's limit of 1000000 bytes"
    ):
        await join(tmp_path, zipped(files | {"model.onnx": named.SerializeToString()}))


async def test_a_model_of_many_small_fields_takes_little_memory(tmp_path: Path) -> None:
    # Two bytes for each of them: a dimension of a tensor, which ONNX's own writer packs.
    many = b"\x08\x01" * 1_000_000
    place = b"\x6a\x17\x0a\x08location\x12\x0bweights.bin" + b"\x70\x01"
    tensor = many + place
    graph = b"\x2a" + varint.write(len(tensor)) + tensor
    content = b"\x08\x08" + b"\x3a" + varint.write(len(graph)) + graph
    tracemalloc.start()
    try:
        joined = await join(tmp_path, zipped({"model.onnx": content, "weights.bin": b"abcd"}), 10 * LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert joined.endswith(many + b"\x4a\x04abcd")
    assert peak < 10 * len(content)


async def test_a_model_of_too_many_fields_is_refused(tmp_path: Path) -> None:
    fields = b"\x08\x01" * 3_000_000
    graph = b"\x2a" + varint.write(len(fields)) + fields
    content = b"\x08\x08" + b"\x3a" + varint.write(len(graph)) + graph
    with pytest.raises(TooLarge, match="has more than 2097152 fields"):
        await join(tmp_path, zipped({"model.onnx": content}), 100 * LIMIT)


async def test_who_leaves_while_an_archive_is_joined_leaves_nothing_behind(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    path = incoming / "upload.part"
    path.write_bytes(zipped(external(tmp_path / "model")))
    began, goes_on = threading.Event(), threading.Event()

    def slow_writer() -> PlanWriter:
        began.set()
        assert goes_on.wait(60)
        return PlanWriter(incoming)

    joining = asyncio.ensure_future(joined_archive(StagedPlan(path, "", 0), slow_writer, LIMIT))
    await asyncio.to_thread(began.wait, 60)
    joining.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert not list(incoming.iterdir())


def test_an_archive_without_a_model_is_told_what_it_is() -> None:
    for archive in (zipped({"a.txt": b"x"}), tarred({"a.txt": b"x"}), tarred({"a.txt": b"x"}, "w:gz")):
        assert sniff(archive).format is None
