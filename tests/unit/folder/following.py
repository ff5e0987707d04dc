"""A server with a fake runtime that follows a folder, which a test polls."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.runtime import FakeRuntime
from tests.unit.serving import Server, serving
from tests.waiting import until
from trtserve.folder.files import Entry, Files, LocalFiles, Slow
from trtserve.folder.model_folder import ModelFolder
from trtserve.settings import Settings


@dataclass
class Served:
    server: Server
    folder: ModelFolder
    files: LocalFiles
    poll: Callable[[], Any]
    """Let the folder be polled once."""

    def versions(self, name: str) -> dict[int, int]:
        known = self.server.registry.names().get(name)
        return dict(known.versions) if known is not None else {}

    def engine(self, name: str, version: int | None = None) -> Any:
        return self.server.registry.resolve(name, None if version is None else str(version)).engine


class Polls:
    """A fake asyncio.sleep that ends when the test polls."""

    def __init__(self) -> None:
        self.sleeping = 0
        self._go = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.sleeping += 1
        self._go.clear()
        await self._go.wait()

    def wake(self) -> None:
        self._go.set()

    async def poll(self) -> None:
        await until(lambda: self.sleeping > 0)
        before = self.sleeping
        self.wake()
        await until(lambda: self.sleeping > before)


class GrowingFiles(LocalFiles):
    """A folder in which the files of `growing` models are being written."""

    growing: frozenset[str] = frozenset()
    reads = 0
    cut = 0  # bytes that are missing at the end of each block
    slow: frozenset[str] = frozenset()  # models that do not answer
    held = ""  # a model that answers once the gate is open

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gate = threading.Event()

    def entries(self, path: Any = ()) -> list[Entry]:
        self._answer(path)
        return super().entries(path)

    def entry(self, path: Any) -> Entry:
        found = super().entry(path)
        return found._replace(stamp=f"{found.stamp}+") if path[0] in self.growing else found

    def blocks(self, path: Any) -> Any:
        self._answer(path)
        self.reads += path[-1] != "config.pbtxt"
        for block in super().blocks(path):
            yield block[: len(block) - self.cut]

    def _answer(self, path: Any) -> None:
        if path and path[0] in self.slow:
            raise Slow(f"{path[0]} cannot be read: it is slow.", retry_after=1.0)
        if path and path[0] == self.held:
            self.gate.wait()


def put(root: Path, path: str, content: bytes) -> Path:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def move(place: Path, to: Path) -> None:
    place.rename(to)


def folder_of(server: Server, files: Files, settings: Settings, **more: Any) -> ModelFolder:
    """A folder of models for a server; `more`: what it takes besides, such as `sleep`."""
    return ModelFolder(
        files, settings, store=server.store, runtime=server.runtime, registry=server.registry, **more
    )


@asynccontextmanager
async def following(
    settings: Settings,
    root: Path,
    runtime: FakeRuntime | None = None,
    mode: str = "poll",
    *,
    slow: Iterable[str] = (),
    held: str = "",
) -> AsyncIterator[Served]:
    settings = settings.model_copy(update={"model_repository": str(root), "model_control_mode": mode})
    async with serving(settings, runtime) as server:
        polls, files = Polls(), GrowingFiles(root)
        files.slow, files.held = frozenset(slow), held
        folder = folder_of(server, files, settings, sleep=polls)
        await folder.start()
        try:
            await until(lambda: not server.registry.coming)
            yield Served(server, folder, files, polls.poll)
        finally:
            files.gate.set()
            await folder.close()


async def polled_twice(served: Served) -> None:
    """A change is taken at the second poll that sees it alike."""
    await served.poll()
    await served.poll()
