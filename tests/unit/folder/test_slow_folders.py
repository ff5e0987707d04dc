"""A folder that is slow or silent: what can be read is served, and the rest is told and tried again."""

from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.folder.following import following, polled_twice, put
from tests.waiting import until
from trtserve.engines import readiness
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize("slow", ["late", "late.onnx"], ids=["its folder", "its file"])
async def test_a_slow_model_is_told_and_served_once_it_answers(
    settings: Settings, root: Path, slow: str
) -> None:
    put(root, "late/1/model.onnx" if slow == "late" else slow, onnx_plan(1))
    put(root, "net.onnx", onnx_plan(2))
    async with following(settings, root, slow=[slow]) as served:
        assert served.versions("net")
        assert not served.versions("late")
        (line,) = [line for line in served.folder.table() if line.startswith("late")]
        assert f"{slow} cannot be read: it is slow." in line
        served.files.slow = frozenset()
        await polled_twice(served)
        assert served.versions("late")


async def test_a_model_that_becomes_slow_stays_as_it_was(settings: Settings, root: Path) -> None:
    put(root, "net/1/model.onnx", onnx_plan(1))
    async with following(settings, root) as served:
        before = served.versions("net")
        served.files.slow = frozenset({"net"})
        await polled_twice(served)
        assert served.versions("net") == before
        assert "cannot be read: it is slow" in served.folder.table()[1]


async def test_three_slow_models_in_a_row_make_a_folder_that_cannot_be_read(
    settings: Settings, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, "net.onnx", onnx_plan(0))
    async with following(settings, root) as served:
        for name in "abcd":
            put(root, f"{name}/1/model.onnx", onnx_plan(name))
        served.files.slow = frozenset("abcd")
        await polled_twice(served)
        assert f"{root} is slow or silent: 3 of its models in a row did not answer" in caplog.text
        assert served.folder.table()[-1].startswith(f"the folder cannot be read: {root} is slow or silent")
        assert served.versions("net")
        served.files.slow = frozenset("abd")  # two in a row at most
        await polled_twice(served)
        assert served.versions("c")
        assert not any("the folder cannot be read" in line for line in served.folder.table())


async def test_a_start_is_ready_once_three_models_could_not_be_read(
    settings: Settings, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.onnx", "b.onnx", "c.onnx", "z.onnx"]
    for name in names:
        put(root, name, onnx_plan(name))
    async with following(settings, root, slow=names[:3], held="z.onnx") as served:
        readiness.check_server(served.server.runtime, served.server.registry)  # while z is being read
        assert not served.versions("z")
        served.files.gate.set()
        await until(lambda: bool(served.versions("z")))
        served.files.slow = frozenset()
        await served.poll()
        assert all(served.versions(name) for name in "abcz")
    assert f"the folder of models {root} is slow or silent: 3 of its models could not" in caplog.text
