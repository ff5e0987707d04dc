"""Tests of the openvino backend's memory settings."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from runtime_ext.backends import OpenVinoOptions
from tests.seam.conftest import Harness
from tests.seam.models import slow, write_onnx

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Memory(ctypes.Structure):
    """The result of mallinfo2(3): a number of bytes or blocks in each field."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated() -> int:
    """Return the bytes that this process has allocated and not freed."""
    process = ctypes.CDLL(None)
    if hasattr(process, "__sanitizer_get_current_allocated_bytes"):  # mallinfo2 does not know its allocator
        process.__sanitizer_get_current_allocated_bytes.restype = ctypes.c_size_t
        return int(process.__sanitizer_get_current_allocated_bytes())
    mallinfo = process.mallinfo2
    mallinfo.restype = Memory
    memory = mallinfo()
    return int(memory.uordblks + memory.hblkhd)


@contextmanager
def configured(folder: Path, **options: int) -> Iterator[Harness]:
    """Make a harness whose openvino backend has these options."""
    harness = Harness(folder, openvino=OpenVinoOptions(**options))
    try:
        yield harness
    finally:
        harness.runtime.close()


def kept_of_many_shapes(folder: Path, shape_cache: int) -> int:
    """Return the bytes that an engine keeps after requests of a hundred shapes, largest first."""
    with configured(folder, shape_cache=shape_cache) as harness:
        engine = harness.load_file(slow(folder / "m.plan", 20, 16), instances=1, threads=1)
        harness.infer(engine, x=np.ones((100, 16), np.float32))
        before = allocated()
        for rows in range(100, 0, -1):
            harness.infer(engine, x=np.ones((rows, 16), np.float32))
        return allocated() - before


def test_shape_cache_sets_for_how_many_shapes_an_engine_keeps_its_preparation(tmp_path: Path) -> None:
    kept_of_many_shapes(tmp_path, 0)  # so that OpenVINO's process-wide memory is not counted
    none, few, many = (kept_of_many_shapes(tmp_path, size) for size in (0, 3, 5000))
    assert many > 5 * max(none, few)


@pytest.mark.parametrize("most", [100, 1000])
def test_max_tensor_bytes_bounds_what_a_request_may_ask_for(tmp_path: Path, most: int) -> None:
    inputs: dict[str, tuple[int, list[int | str] | None]] = {"x": (FLOAT, [1]), "times": (INT64, [1])}
    plan = write_onnx(
        tmp_path / "m.plan", [helper.make_node("Tile", ["x", "times"], ["y"])], inputs, {"y": (FLOAT, ["n"])}
    )
    with configured(tmp_path, max_tensor_bytes=most) as harness:
        engine = harness.load_file(plan, instances=1)
        x = np.ones(1, np.float32)
        assert harness.infer(engine, x=x, times=np.int64([most // 4]))["y"].size == most // 4
        (refused,) = harness.wait(harness.submit(engine, x=x, times=np.int64([most // 4 + 1])))
        assert refused.kind == "InvalidInput"
        assert f"request's values is {most}" in refused.message


def test_max_tensor_bytes_also_holds_after_a_recompilation(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Compress", ["x", "keep"], ["kept"], axis=0),
        helper.make_node("Add", ["kept", "z"], ["sum"]),
        helper.make_node("Tile", ["sum", "times"], ["y"]),
    ]
    inputs: dict[str, tuple[int, list[int | str] | None]] = {
        "x": (FLOAT, ["n"]),
        "keep": (BOOL, ["n"]),
        "z": (FLOAT, ["k"]),
        "times": (INT64, [1]),
    }
    plan = write_onnx(tmp_path / "m.plan", nodes, inputs, {"y": (FLOAT, ["m"])})
    x, z = np.ones(3, np.float32), np.ones(2, np.float32)
    two, three = np.array([True, False, True]), np.array([True, True, True])
    with configured(tmp_path, max_tensor_bytes=80) as harness:
        engine = harness.load_file(plan, instances=1)
        for keep, times, message in ((two, 11, "values is 80"), (three, 1, "z"), (two, 11, "values is 80")):
            (refused,) = harness.wait(harness.submit(engine, x=x, keep=keep, z=z, times=np.int64([times])))
            assert (refused.kind, message in refused.message) == ("InvalidInput", True), refused.message
        assert harness.infer(engine, x=x, keep=two, z=z, times=np.int64([10]))["y"].tolist() == [2] * 20
