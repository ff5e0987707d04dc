"""Engines with max_batch_size=auto, which a check at their load decides about."""

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.serving import serving
from trtserve.engines import loading
from trtserve.errors import Conflict
from trtserve.http.schemas import EngineModel
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def runtime() -> FakeRuntime:
    """A runtime whose engines could be joined up to 64."""
    runtime = FakeRuntime()
    runtime.auto_batch_size = 64
    return runtime


@pytest.mark.parametrize(("why", "most"), [("", 64), ("Its rows are mixed.", 1)])
async def test_a_check_at_the_load_decides_whether_requests_are_joined(
    settings: Settings, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, why: str, most: int
) -> None:
    monkeypatch.setattr(loading, "why_not_joined", lambda *_, **__: why)
    async with serving(settings, runtime) as server:
        resolved, _ = await server.add(onnx_plan(), "net", max_batch_size="auto")
        shown = EngineModel.of(resolved, None)
        assert (shown.max_batch_size, shown.why_not_joined) == (most, why or None)
        await server.add(onnx_plan(), max_batch_size=most)  # what it has may be asked for
        with pytest.raises(Conflict, match="max_batch_size=auto, not 7"):
            await server.add(onnx_plan(), max_batch_size=7)


async def test_a_check_that_breaks_leaves_an_engine_that_joins_nothing(
    settings: Settings, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise TypeError

    monkeypatch.setattr(loading, "why_not_joined", broken)
    async with serving(settings, runtime) as server:
        engine = (await server.add(onnx_plan(), "net", max_batch_size="auto"))[0].engine
        assert engine.loaded.max_batch_size == 1
        assert "the check of its batches failed" in engine.loaded.why_not_joined


@pytest.mark.parametrize("asked", [{}, {"max_batch_size": 8}])
async def test_engines_that_are_not_asked_for_auto_are_not_checked(
    settings: Settings, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, asked: dict[str, int]
) -> None:
    monkeypatch.setattr(loading, "why_not_joined", lambda *_, **__: "checked")
    async with serving(settings, runtime) as server:
        engine = (await server.add(onnx_plan(), "net", **asked))[0].engine
        assert engine.loaded.why_not_joined == ""
