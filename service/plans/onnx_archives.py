"""Makes one plan of an ONNX model together with the files that hold its tensors: an archive, or a folder."""

import asyncio
import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, ParamSpec

from trtserve.errors import Unavailable
from trtserve.plans.onnx_data import DataFiles, Joined, Told, file_of
from trtserve.plans.packed_files import PackedFiles, refuse, unpack
from trtserve.store.reserve import disk_full, is_full
from trtserve.store.staging import PlanWriter, StagedPlan
from trtserve.streams import over_limit
from trtserve.text import first_of, shown
from trtserve.workers import ARCHIVES

WRITTEN_BYTES = 4 * 1024**2  # at a time
SHOWN_MODELS = 4
MODEL = "model.onnx"  # what a model is called among its files, where they have no archive

P = ParamSpec("P")


async def joined_archive(
    archive: StagedPlan, open_writer: Callable[[], PlanWriter], limit: int
) -> StagedPlan:
    """The ONNX file that the archive's files make; the archive is gone then.

    `limit`: bytes that it may unpack to, and of the file. Raises InvalidInput for what is wrong with the
    archive or its model, TooLarge, Unavailable if the disk is full, and what the writer raises.
    """
    return await _joined(_join, archive, open_writer, limit)


async def joined_with(
    model: StagedPlan,
    there: Iterable[str],
    read: Callable[[str], Iterator[bytes]],
    open_writer: Callable[[], PlanWriter],
    limit: int,
) -> StagedPlan:
    """The ONNX file that a model makes with those of the files beside it that have its tensors.

    It is the model itself, if it needs none; otherwise that is gone then, as it is after an error. `there`
    has the names of the files; `read` reads one, in a thread. Raises as joined_archive(), and what `read`
    raises.
    """
    return await _joined(_join_with, model, there, read, open_writer, limit)


async def _joined(work: Callable[P, StagedPlan], *args: P.args, **kwargs: P.kwargs) -> StagedPlan:
    joining = asyncio.ensure_future(ARCHIVES.run(work, *args, **kwargs))
    try:
        return await asyncio.shield(joining)
    except asyncio.CancelledError:
        await asyncio.shield(_discard(joining))
        raise


async def _discard(joining: asyncio.Future[StagedPlan]) -> None:
    """Discard the file, once the thread that writes it is done."""
    await asyncio.wait((joining,))
    if joining.exception() is None:
        await ARCHIVES.run(joining.result().discard)


def _join(archive: StagedPlan, open_writer: Callable[[], PlanWriter], limit: int) -> StagedPlan:
    try:
        files = unpack(archive.path, limit)
    except OSError as failure:
        raise _unwritable(failure, archive.path.parent) from failure
    finally:
        archive.discard()
    try:
        return _written(files, open_writer, limit)
    finally:
        files.close()


def _unwritable(failure: OSError, folder: Path) -> Unavailable:
    if is_full(failure, folder):
        return disk_full(folder, "The model's files cannot be unpacked")
    return Unavailable(f"The model's files cannot be unpacked: {failure.strerror or failure}.")


def _written(files: PackedFiles, open_writer: Callable[[], PlanWriter], limit: int) -> StagedPlan:
    models = [name for name in files.places if name.endswith(".onnx")]
    if len(models) != 1:
        named = first_of([*map(shown, models)], SHOWN_MODELS) or "none"
        refuse(f"it must have one file named *.onnx, and it has {len(models)}: {named}")
    if files.places[models[0]][1] == 0:
        refuse(f"{shown(models[0])} in it is empty")
    unpacked = _mapped(files.unpacked)
    joined = Joined(unpacked, files.places[models[0]], DataFiles(unpacked, files.places, models[0]))
    return _write(joined, open_writer, limit)


def _join_with(
    model: StagedPlan,
    there: Iterable[str],
    read: Callable[[str], Iterator[bytes]],
    open_writer: Callable[[], PlanWriter],
    limit: int,
) -> StagedPlan:
    try:
        needed = _needed(model)
        if not needed:
            return model
        # A file without a name, so that nothing of it is left whatever happens.
        with tempfile.TemporaryFile(dir=model.path.parent) as unpacked:
            files = PackedFiles(unpacked, limit)
            with model.path.open("rb") as staged:
                files.add(MODEL, iter(lambda: staged.read(WRITTEN_BYTES), b""))
            for name in sorted(needed.intersection(there)):
                files.add(name, read(name))
            unpacked.flush()
            whole = _mapped(unpacked)
            data = DataFiles(whole, files.places, MODEL, "its folder")
            written = _write(Joined(whole, files.places[MODEL], data), open_writer, limit)
    except OSError as failure:
        model.discard()
        raise _unwritable(failure, model.path.parent) from failure
    except BaseException:
        model.discard()
        raise
    model.discard()
    return written


def _needed(model: StagedPlan) -> set[str]:
    """The names of the files that a model's tensors are in."""
    needed: set[str] = set()

    def need(name: str, told: Told) -> memoryview:
        needed.add(file_of(MODEL, told))
        return memoryview(b"")

    with model.path.open("rb") as staged:
        Joined(_mapped(staged), (0, model.size), need)
    return needed


def _mapped(file: IO[bytes]) -> memoryview:
    """Nobody else has the file, so nobody shortens it under the mapping, which goes with its last piece."""
    return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _write(joined: Joined, open_writer: Callable[[], PlanWriter], limit: int) -> StagedPlan:
    if joined.size > limit:  # tensors may have the same bytes of a file
        raise over_limit("The model and its data are", limit, "max-plan-bytes")
    writer = open_writer()
    try:
        for chunk in _chunks(joined.parts):
            writer.write([chunk])
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


def _chunks(parts: list[bytes | memoryview]) -> Iterator[bytes]:
    for part in parts:
        for begin in range(0, len(part), WRITTEN_BYTES):
            yield bytes(part[begin : begin + WRITTEN_BYTES])
