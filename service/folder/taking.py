"""Takes one version of a model from the folder into the store, as an upload would."""

from runtime_ext import Runtime
from trtserve.engines.engine import Engine
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.folder.files import RETRY_AFTER_S, Files, blocks_of
from trtserve.folder.layout import PlanFile, stamp_now
from trtserve.folder.model_config import FolderConfig
from trtserve.formats.format import Format
from trtserve.options.build_options import BuildRequest
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.choice import Choice, choose
from trtserve.plans.onnx_archives import joined_archive, joined_with
from trtserve.plans.receive import receive_plan
from trtserve.settings import Settings
from trtserve.store.rows import Exactly
from trtserve.store.staging import StagedPlan
from trtserve.store.store import Store
from trtserve.streams import over_limit
from trtserve.text import printable
from trtserve.workers import FOLDER, UPLOADS


class Taking:
    """Belongs to the event loop; files are read in threads."""

    def __init__(
        self, files: Files, settings: Settings, *, store: Store, runtime: Runtime, registry: Registry
    ) -> None:
        self._files = files
        self._settings, self._store, self._runtime = settings, store, runtime
        self._registry = registry

    async def take(self, name: str, version: int, file: PlanFile, config: FolderConfig) -> Engine:
        """Make the file a version of the name; returns its engine, which is READY.

        Raises the errors of an upload, InvalidInput if the plan is not as the config says, and Unavailable if
        the file changes meanwhile.
        """
        plan, choice, options = await self._receive(file, config)
        resolved, _ = await self._registry.add(
            plan,
            name=name,
            format=choice.format,
            options=options,
            build=choice.build,
            version=Exactly(version),
            admit=lambda engine: config.tensors.check(engine.loaded),
        )
        return resolved.engine

    async def _receive(
        self, file: PlanFile, config: FolderConfig
    ) -> tuple[StagedPlan, Choice, EngineOptions]:
        async def inspect(head: bytes) -> tuple[Choice, EngineOptions]:
            choice = await choose(
                self._runtime,
                self._settings,
                head,
                config.load.format,
                asked=config.asked,
                build=BuildRequest(),
            )
            config.load.check_format(choice.format)
            return choice, config.options(choice.options, choice.format, self._settings)

        most = self._settings.max_plan_bytes
        if file.size is not None and file.size > most:
            raise over_limit(f"The plan of {file.size} bytes is", most, "max-plan-bytes")
        plan, (choice, options) = await receive_plan(
            blocks_of(self._files, file.path),
            uploads=self._registry.uploads,
            open_writer=lambda: self._store.new_upload(file.size),
            inspect=inspect,
            limit=most,
            declared=None,  # a file of another size than it had has changed, which is told as that
        )
        if file.size is not None and plan.size != file.size:
            await UPLOADS.run(plan.discard)
            raise _changed(file)
        plan = await self._with_data(plan, choice, file)
        await self._check_unchanged(file, plan)
        return plan, choice, options

    async def _with_data(self, plan: StagedPlan, choice: Choice, file: PlanFile) -> StagedPlan:
        """The plan, and the tensors that an ONNX model has in files beside it."""
        most = self._settings.max_plan_bytes
        if choice.archived:
            return await joined_archive(plan, self._store.new_upload, most)
        if choice.format is not Format.ONNX or not file.beside:
            return plan
        folder = file.path[:-1]
        return await joined_with(
            plan,
            file.beside,
            lambda name: self._files.blocks([*folder, name]),
            self._store.new_upload,
            most,
        )

    async def _check_unchanged(self, file: PlanFile, plan: StagedPlan) -> None:
        try:
            if await FOLDER.run(stamp_now, self._files, file) != file.stamp:
                raise _changed(file)
        except BaseException:
            await UPLOADS.run(plan.discard)
            raise


def _changed(file: PlanFile) -> Unavailable:
    return Unavailable(
        f"{printable('/'.join(file.path))} changed while it was read.", retry_after=RETRY_AFTER_S
    )
