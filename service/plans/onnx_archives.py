"""Makes one plan of an uploaded archive: an ONNX model together with the files that hold its tensors."""

import asyncio
import mmap
from collections.abc import Callable, Iterator

from trtserve.errors import Unavailable
from trtserve.plans.onnx_data import Joined
from trtserve.plans.packed_files import PackedFiles, refuse, unpack
from trtserve.store.reserve import disk_full, is_full
from trtserve.store.staging import PlanWriter, StagedPlan
from trtserve.streams import over_limit
from trtserve.text import first_of, shown
from trtserve.workers import ARCHIVES

WRITTEN_BYTES = 4 * 1024**2  # at a time
SHOWN_MODELS = 4


async def joined_archive(
    archive: StagedPlan, open_writer: Callable[[], PlanWriter], limit: int
) -> StagedPlan:
    """The ONNX file that the archive's files make; the archive is gone then.

    `limit`: bytes that it may unpack to, and of the file. Raises InvalidInput for what is wrong with the
    archive or its model, TooLarge, Unavailable if the disk is full, and what the writer raises.
    """
    joining = asyncio.ensure_future(ARCHIVES.run(_join, archive, open_writer, limit))
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
        if is_full(failure, archive.path.parent):
            raise disk_full(archive.path.parent, "The archive cannot be unpacked") from failure
        raise Unavailable(f"The archive cannot be unpacked: {failure.strerror or failure}.") from failure
    finally:
        archive.discard()
    try:
        return _written(files, open_writer, limit)
    finally:
        files.close()


def _written(files: PackedFiles, open_writer: Callable[[], PlanWriter], limit: int) -> StagedPlan:
    models = [name for name in files.places if name.endswith(".onnx")]
    if len(models) != 1:
        named = first_of([*map(shown, models)], SHOWN_MODELS) or "none"
        refuse(f"it must have one file named *.onnx, and it has {len(models)}: {named}")
    if files.places[models[0]][1] == 0:
        refuse(f"{shown(models[0])} in it is empty")
    # Nobody else has the file, so nobody shortens it under the mapping, which goes with the last piece of it.
    unpacked = memoryview(mmap.mmap(files.unpacked.fileno(), 0, prot=mmap.PROT_READ))
    joined = Joined(unpacked, files.places, models[0])
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
