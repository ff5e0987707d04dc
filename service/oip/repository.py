"""The repository extension: lists models, loads and unloads them.

A model is a name with its versions, or an engine without a name, called by its ID and of version 1.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from runtime_ext import Error, Runtime
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.registry import Registry
from trtserve.errors import InvalidInput, TrtserveError, of_kind
from trtserve.formats.format import Format
from trtserve.formats.sniff import tell_format
from trtserve.oip import describe
from trtserve.oip.config_reader import LoadConfig
from trtserve.oip.load_parameters import PlanFile, read_load, read_unload
from trtserve.options.engine_options import EngineOptions
from trtserve.options.names import NAME_RULE, is_name
from trtserve.plans.checks import choose_format
from trtserve.plans.onnx_archives import joined_archive
from trtserve.plans.receive import receive_plan
from trtserve.settings import Settings
from trtserve.store.staging import StagedPlan
from trtserve.store.store import Store
from trtserve.text import sentence, shown
from trtserve.workers import UPLOADS

STATES = {
    State.BUILDING: "LOADING",
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.DORMANT: "READY",  # for clients: requests are served
    State.DRAINING: "UNLOADING",
    State.UNLOADED: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
}


class Folder(Protocol):
    """A folder of models that the server serves."""

    async def load(self, name: str, asked: LoadConfig | None = None) -> bool:
        """Take a model as it is there now, and load it; False if the folder has none of this name."""

    async def index(self) -> list[dict[str, str]]:
        """The versions of the folder that the server does not serve."""


def index(registry: Registry, ready_only: bool) -> list[dict[str, Any]]:
    """All versions of all models that the server has, or those that are READY."""
    models = [resolved for name in registry.names() for resolved in describe.all_versions(registry, name)]
    models += [Resolved(engine, None, None) for engine in registry.engines() if not engine.names]
    return [
        {
            "name": model.model_name,
            "version": model.model_version,
            "state": STATES[model.engine.state],
            "reason": _reason(model.engine),
        }
        for model in models
        if STATES[model.engine.state] == "READY" or not ready_only
    ]


def _reason(engine: Engine) -> str:
    if engine.state is State.BUILDING:
        return f"its plan is being built: {engine.progress}" if engine.progress else "its plan is being built"
    if engine.state is State.DORMANT:
        return "not resident: the next request loads it"
    return "unloaded" if engine.state is State.UNLOADED else engine.reason or ""


class Repository:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        runtime: Runtime,
        registry: Registry,
        folder: Folder | None = None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._store = store
        self._runtime = runtime
        self._registry = registry

    async def index(self, ready_only: bool) -> list[dict[str, Any]]:
        """All versions of all models, with the folder's that are not served; or those that are READY."""
        models = index(self._registry, ready_only)
        if self._folder is not None and not ready_only:
            models += await self._folder.index()
        return models

    async def load(self, name: str, parameters: Mapping[str, object]) -> None:
        """Load the stored versions of a model, or the files among the parameters as its versions.

        A model of the folder is first taken from there as it is now.

        Files become engines in the order of their versions, and current in turn. Raises the errors of an
        upload and of registry.load(), and says what failed; a fault in the request leaves nothing behind.
        """
        try:
            await self._load(name, parameters)
        except (TrtserveError, Error) as failure:
            # Clients of Triton look for these words.
            told = f"{sentence(str(failure))} So the server failed to load {shown(name)}."
            raise of_kind(failure.kind, told, getattr(failure, "retry_after", None)) from failure

    async def _load(self, name: str, parameters: Mapping[str, object]) -> None:
        asked = read_load(name, parameters)
        options = asked.config.asked if asked.config is not None else EngineOptions()
        if not asked.files:
            if self._folder is not None and await self._folder.load(name, asked.config):
                return
            if asked.config is not None:
                for resolved in describe.all_versions(self._registry, name):
                    asked.config.check_format(resolved.engine.format)
            await self._registry.load(name, options)
            return
        if not is_name(name):
            raise InvalidInput(f"{name!r} is not a name that an engine can have: {NAME_RULE}.")
        staged: list[tuple[int, StagedPlan, Format]] = []
        try:
            for file in asked.files:
                staged.append((file.version, *await self._stage(file, asked.config)))
            while staged:
                version, plan, format = staged.pop(0)  # add() discards it in any case
                await self._registry.add(plan, name=name, format=format, options=options, version=version)
        finally:
            for _, plan, _ in staged:
                await UPLOADS.run(plan.discard)

    async def _stage(self, file: PlanFile, config: LoadConfig | None) -> tuple[StagedPlan, Format]:
        async def inspect(head: bytes) -> tuple[Format, bool]:
            asked = config.format if config is not None else "auto"
            format = await choose_format(self._runtime, head, asked)
            if config is not None:
                config.check_format(format)
            return format, tell_format(head, asked)[1].archived

        most = self._settings.max_plan_bytes
        plan, (format, archived) = await receive_plan(
            file.blocks(),
            uploads=self._registry.uploads,
            open_writer=self._store.new_upload,
            inspect=inspect,
            limit=most,
            declared=file.size,
        )
        if archived:
            plan = await joined_archive(plan, self._store.new_upload, most)
        return plan, format

    async def unload(self, name: str, parameters: Mapping[str, object]) -> None:
        """Unload all versions of a model; they are kept, and can be loaded again."""
        await self._registry.unload(name, dependents=read_unload(parameters))
