"""Takes one version of a model from the folder into the store, as an upload would."""

from collections.abc import Sequence

from runtime_ext import Runtime
from trtserve.engines.engine import Engine
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.folder.files import RETRY_AFTER_S, Entry, Files, blocks_of
from trtserve.folder.model_config import FolderConfig
from trtserve.options.build_options import BuildRequest
from trtserve.plans.choice import Choice, choose
from trtserve.plans.receive import receive_plan
from trtserve.settings import Settings
from trtserve.store.rows import Exactly
from trtserve.store.staging import StagedPlan
from trtserve.store.store import Store
from trtserve.workers import FOLDER, UPLOADS


class Taking:
    """Belongs to the event loop; files are read in threads."""

    def __init__(
        self, files: Files, settings: Settings, *, store: Store, runtime: Runtime, registry: Registry
    ) -> None:
        self._files = files
        self._settings, self._store, self._runtime = settings, store, runtime
        self._registry = registry

    async def take(
        self, name: str, version: int, path: Sequence[str], entry: Entry, config: FolderConfig
    ) -> Engine:
        """Make the file a version of the name; returns its engine, which is READY.

        Raises the errors of an upload, InvalidInput if the plan is not as the config says, and Unavailable if
        the file changes meanwhile.
        """

        async def inspect(head: bytes) -> Choice:
            choice = await choose(
                self._runtime,
                self._settings,
                head,
                config.load.format,
                asked=config.asked,
                build=BuildRequest(),
            )
            config.load.check_format(choice.format)
            return choice

        plan, choice = await receive_plan(
            blocks_of(self._files, path),
            uploads=self._registry.uploads,
            open_writer=lambda: self._store.new_upload(entry.size),
            inspect=inspect,
            limit=self._settings.max_plan_bytes,
            declared=entry.size,
        )
        await self._check_unchanged(path, entry, plan)
        resolved, _ = await self._registry.add(
            plan,
            name=name,
            format=choice.format,
            options=config.options(choice.options, choice.format, self._settings),
            build=choice.build,
            version=Exactly(version),
            admit=lambda engine: config.tensors.check(engine.loaded),
        )
        return resolved.engine

    async def _check_unchanged(self, path: Sequence[str], entry: Entry, plan: StagedPlan) -> None:
        try:
            now = await FOLDER.run(self._files.entry, path)
            if now.stamp != entry.stamp:
                raise Unavailable(f"{'/'.join(path)} changed while it was read.", retry_after=RETRY_AFTER_S)
        except BaseException:
            await UPLOADS.run(plan.discard)
            raise
