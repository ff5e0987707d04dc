"""Keeps the server's models as a folder has them: at the start, at each change, or when asked.

What a look finds is compared with what was taken before (store/served_folder.py), so that only what changed
is read. The engines themselves are the registry's, as those of uploads are.
"""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

from runtime_ext import Error, Runtime
from trtserve.engines.keyed_lock import KeyedLock
from trtserve.engines.registry import Registry
from trtserve.engines.retries import Sleep
from trtserve.errors import Conflict, NotFound, TrtserveError
from trtserve.folder.files import Files, read_small
from trtserve.folder.layout import MOST_SLOW, FoundModel, look
from trtserve.folder.model_config import MOST_BYTES, FolderConfig, NotServed
from trtserve.folder.outcome import Outcome, told_as_table
from trtserve.folder.taking import Taking
from trtserve.formats.format import Format
from trtserve.oip.config_reader import LoadConfig
from trtserve.settings import Settings
from trtserve.store.served_folder import ServedModel, ServedVersion
from trtserve.store.store import Store
from trtserve.text import shown
from trtserve.workers import FOLDER

logger = logging.getLogger(__name__)


class ModelFolder:
    """Belongs to the event loop."""

    def __init__(
        self,
        files: Files,
        settings: Settings,
        *,
        store: Store,
        runtime: Runtime,
        registry: Registry,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`sleep` waits between two looks at the folder."""
        self._files, self._settings, self._registry = files, settings, registry
        self._taking = Taking(files, settings, store=store, runtime=runtime, registry=registry)
        self._sleep = sleep
        self._file = store.served
        self._file_lock = asyncio.Lock()  # held while the file is written
        self._locks: KeyedLock[str] = KeyedLock()  # by model: it is taken once at a time
        self._outcomes: dict[str, Outcome] = {}
        self._found: dict[str, FoundModel] = {}  # by the last look
        self._seen: dict[str, str] = {}  # stamps, by the look of the last poll
        self._problem = ""  # of the last look, if it failed
        self._task: asyncio.Task[None] | None = None

    # -- running

    async def start(self) -> None:
        """Begin to serve the folder, in the background.

        Raises Unavailable if the store cannot tell what was taken from it before.
        """
        self._served = await asyncio.to_thread(self._file.read)
        self._registry.coming = 1
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more. What the registry has begun for this ends with the registry."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        mode = self._settings.model_control_mode
        try:
            await self._begin(takes=mode != "explicit")
        finally:
            self._registry.coming = 0
        while mode == "poll":
            await self._sleep(self._settings.repository_poll_secs)
            await self._guarded(self.poll())

    async def _begin(self, *, takes: bool) -> None:
        """Take what the folder has, if that is wanted, and let go of what it has no longer."""
        while not await self._look():
            if self._served.models:
                self._registry.coming = 0  # the store has them: what serves them need not wait
            await self._sleep(self._settings.repository_poll_secs)
        self._seen = self._stamps()
        gone = sorted(self._served.models.keys() - self._found.keys())
        found = list(self._found.values()) if takes else []
        self._registry.coming = len(gone) + len(found)
        for name in gone:
            await self._guarded(self._let_go(name))
            self._registry.coming -= 1
        slow = 0
        for model in found:
            await self._guarded(self._take(model))
            slow += self._outcomes[model.name].is_slow
            if slow < MOST_SLOW:
                self._registry.coming -= 1
            elif self._registry.coming:
                self._registry.coming = 0
                logger.warning(
                    "the folder of models %s is slow or silent: %d of its models could not be read in time. "
                    "The start waits for the others no longer; they are served when they have been read",
                    self._files.root,
                    slow,
                )
        for line in self.table() if takes else ():
            logger.info("%s", line)

    async def poll(self) -> None:
        """Take what has changed, once it is as it was at the poll before: then nobody is writing it."""
        if not await self._look():
            return
        before, self._seen = self._seen, self._stamps()
        for name in sorted(self._found.keys() | self._served.models.keys() | self._outcomes.keys()):
            found, last = self._found.get(name), self._outcomes.get(name)
            if found is None:
                if name not in before:
                    await self._guarded(self._let_go(name))
            elif before.get(name) == found.stamp and (last is None or last.is_behind(found)):
                await self._guarded(self._take(found))
                for line in self.table(name):
                    logger.info("%s", line)

    def _stamps(self) -> dict[str, str]:
        return {name: found.stamp for name, found in self._found.items()}

    async def _look(self) -> bool:
        """Look at the folder; if it cannot be read, everything stays as it is."""
        try:
            self._found = await FOLDER.run(look, self._files)
        except TrtserveError as failure:
            if str(failure) != self._problem:
                logger.error("the folder of models cannot be read, so nothing changes: %s", failure)
            self._problem = str(failure)
            return False
        self._problem = ""
        return True

    async def _guarded(self, step: Awaitable[object]) -> None:
        try:
            await step
        except (TrtserveError, Error) as failure:
            logger.warning("the folder of models: %s", failure)
        except Exception:
            logger.exception("the folder of models")

    # -- one model

    async def load(self, name: str, asked: LoadConfig | None = None) -> bool:
        """Take a model as the folder has it now, and load its versions; False if the folder has none of this
        name.

        `asked` takes the place of what its config asks for. Raises what failed first.
        """
        found = (await FOLDER.run(look, self._files, name)).get(name)
        if found is None or (name in self._registry.names() and name not in self._served.models):
            return False
        self._found[name] = found
        outcome = await self._take(found, loads=True, asked=asked)
        if outcome.failures:
            raise outcome.failures[0]
        return True

    async def _take(
        self, found: FoundModel, *, loads: bool = False, asked: LoadConfig | None = None
    ) -> Outcome:
        """`loads`: also versions that are as they were are loaded, where they are not."""
        async with self._locks.hold(found.name):
            outcome = self._outcomes[found.name] = Outcome(found)
            try:
                config = await self._config(found)
                outcome.ignored = config.ignored
                if asked is not None:
                    config = replace(config, load=asked)
                await self._follow(found, config, outcome, loads=loads, is_own=asked is None)
            except (TrtserveError, Error) as failure:
                outcome.failures.append(failure)
            return outcome

    async def _config(self, found: FoundModel) -> FolderConfig:
        if found.problem:
            raise NotServed([found.problem])
        if found.config is None:
            return FolderConfig()
        text = await self._read(found, found.config.name)
        config = await FOLDER.run(FolderConfig.read, text, found.name)
        labels: dict[str, bytes] = {}
        for name in dict.fromkeys(config.label_files.values()):
            labels[name] = await self._read(found, name)
            config.check_labels(sum(map(len, labels.values())))
        return await FOLDER.run(config.with_labels, labels)

    async def _read(self, found: FoundModel, name: str) -> bytes:
        return await FOLDER.run(read_small, self._files, [*found.place, name], MOST_BYTES)

    async def _follow(
        self, found: FoundModel, config: FolderConfig, outcome: Outcome, *, loads: bool, is_own: bool
    ) -> None:
        """Make the versions of the name those that the folder has, and the config chooses."""
        name = found.name
        if name in self._registry.names() and name not in self._served.models:
            raise Conflict(
                f"{shown(name)} is a name of uploaded engines: remove it, or give the folder's model another."
            )
        versions = config.chosen(list(found.versions))
        if not versions:
            outcome.failures.append(
                NotServed(["Its version_policy chooses none of the versions that it has."])
            )
        served = self._served.models.setdefault(name, ServedModel())
        changes = loads or served.config != found.config_stamp
        for version in versions:
            try:
                if not self._stands(found, version, config, versions):
                    await self._take_version(found, version, config, served)
                elif changes:
                    await self._load_version(served.versions[version].engine, config)
            except (TrtserveError, Error) as failure:
                outcome.failed[version] = failure
                outcome.failures.append(failure)
        # Until those that take their place are served, the former versions stay.
        for version in sorted(served.versions.keys() - set(versions)) if not outcome.failures else ():
            await self._let_version_go(name, version)
        if is_own:
            served.config = found.config_stamp if not outcome.failures else ""
        if not served.versions:
            del self._served.models[name]
        await self._write(name)

    def _stands(self, found: FoundModel, version: int, config: FolderConfig, versions: list[int]) -> bool:
        """Whether the version is what its file is. One with the bytes of another version is that one."""
        known = self._served.models[found.name].versions.get(version)
        if known is None or known.stamp != found.file(version, config).stamp:
            return False
        name = self._registry.names().get(found.name)
        has = name.versions if name is not None else {}
        return has.get(version, known.engine) == known.engine and known.engine in map(has.get, versions)

    async def _take_version(
        self, found: FoundModel, version: int, config: FolderConfig, served: ServedModel
    ) -> None:
        file = found.file(version, config)
        await self._write(found.name)  # from here on the name is the folder's
        engine = await self._taking.take(found.name, version, file, config)
        before = served.versions.get(version)
        served.versions[version] = ServedVersion(engine=engine.id, stamp=file.stamp)
        if before is not None and before.engine != engine.id:
            await self._forget(before.engine)

    async def _load_version(self, id: int, config: FolderConfig) -> None:
        """Load an engine with the options of the config; one that is READY with others is loaded anew."""
        engine = self._registry.resolve(str(id)).engine
        if engine.info is not None:
            config.tensors.check(engine.info)
        options = config.options(config.asked, Format(engine.format), self._settings)
        await self._registry.load(str(id), options)

    # -- what the folder has no longer

    async def _let_go(self, name: str) -> None:
        async with self._locks.hold(name):
            self._outcomes.pop(name, None)
            served = self._served.models.get(name)
            if served is None:
                return
            for version in sorted(served.versions):
                await self._let_version_go(name, version)
            del self._served.models[name]
            await self._write(name)
            logger.info("%s is no longer in the folder, and is removed", name)

    async def _let_version_go(self, name: str, version: int) -> None:
        """Remove a version, unless it has become another engine since it was taken."""
        served = self._served.models[name].versions
        known = self._registry.names().get(name)
        if known is not None and known.versions.get(version) == served[version].engine:
            with suppress(NotFound):
                await self._registry.remove(name, version=version)
        del served[version]

    async def _forget(self, id: int) -> None:
        """Remove an engine that was a version, unless it has another name, or a module calls it."""
        with suppress(NotFound, Conflict):
            if not self._registry.resolve(str(id)).engine.names:
                await self._registry.remove(str(id))

    async def _write(self, name: str) -> None:
        async with self._file_lock:
            served = self._served.models.get(name)
            text = None if served is None else served.model_dump_json()
            await asyncio.to_thread(self._file.write, name, text)

    # -- telling

    def table(self, only: str | None = None) -> list[str]:
        """What is served, and what configs ask for in vain, of all models or of one: the lines of a table."""
        names = sorted(self._outcomes) if only is None else [only]
        told = [self._outcomes[name] for name in names]
        models = self._served.models
        served = {name: sorted(models[name].versions) for name in names if name in models}
        problem = [f"the folder cannot be read: {self._problem}"] if self._problem and only is None else []
        lines = told_as_table(told, served) + problem
        return lines or [f"the folder {self._files.root} has no models to serve"]

    async def index(self) -> list[dict[str, str]]:
        """The versions of the folder that the server does not serve, in the words of the protocol's index."""
        if self._settings.model_control_mode == "explicit":
            await self._look()
        names, rows = self._registry.names(), []
        for name, found in sorted(self._found.items()):
            has = names[name].versions if name in names and name in self._served.models else {}
            outcome = self._outcomes.get(name) or Outcome(found)
            for version, reason in outcome.missing(found, set(has)):
                rows.append({"name": name, "version": version, "state": "UNAVAILABLE", "reason": reason})
        return rows
