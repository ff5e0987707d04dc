"""Modules that call what their plans say, on a fake runtime; see tests.fakes.plans.module_plan."""

from pathlib import Path

from tests.fakes.plans import module_calls
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import EngineInfo, LoadOptions
from trtserve.plans.trial import References
from trtserve.store.database import StoredEngine


def references(plan: Path) -> References:
    calls = module_calls(plan.read_bytes())
    return References(
        [call for call in calls if isinstance(call, int)], [call for call in calls if isinstance(call, str)]
    )


class Runtime(FakeRuntime):
    """A runtime whose modules call what their plan says."""

    def __init__(self, *backends: str) -> None:
        """`backends`: others than the CPU's."""
        super().__init__(backends=("openvino", "torchscript", *backends))

    def load(self, id: int, plan: str, backend: str, options: LoadOptions) -> EngineInfo:
        found = references(Path(plan)) if backend == "torchscript" else References([], [])
        self.inspection.engine_ids, self.inspection.engine_names = found
        return super().load(id, plan, backend, options)


class Trial:
    """Inspects modules."""

    def __init__(self) -> None:
        self.refuses: Exception | None = None
        self.tried: list[int] = []

    async def __call__(self, plan: Path, engine: StoredEngine) -> References | None:
        self.tried.append(engine.id)
        if engine.format != "torchscript":
            return None
        if self.refuses is not None:
            raise self.refuses
        return references(plan)
