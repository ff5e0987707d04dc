"""Stored plans that differ from their upload: loads report them, and an upload repairs them."""

import asyncio
import errno
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.serving import Server, loaded, serving
from tests.unit.stores import aside
from trtserve.engines.engine import State
from trtserve.errors import Unavailable
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


def flipped(path: Path) -> None:
    """Flip one bit of the file; its size stays."""
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").write_text("mine")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, tuple[Any, str, int]] = {
    "flipped": (flipped, r"is damaged: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}", 0),
    "shorter": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "has 15 bytes instead of 16", 0),
    "empty": (lambda path: path.write_bytes(b""), "has 0 bytes instead of 16", 0),
    "missing": (Path.unlink, "cannot be read: No such file", 0),
    "a folder": (folder, "is not a file but a folder", 1),
    "a link": (link, "is not a file but a symbolic link", 1),
    "a dangling link": (dangling, "is not a file but a symbolic link", 1),
    "a pipe": (pipe, "is not a file but a pipe", 1),
}
"""How to damage a plan, the reported reason, and the number of files that the repair sets aside."""


def plan_of(server: Server) -> Path:
    (path,) = (server.settings.store / "plans").glob("*.plan")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_plan_fails_its_engine_until_an_upload_repairs_it(
    settings: Settings, damage: str
) -> None:
    spoil, reason, odd = DAMAGES[damage]
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=3)
        spoil(plan_of(server))
    runtime = FakeRuntime()
    async with serving(settings, runtime) as server:
        await loaded(server)
        (engine,) = server.registry.engines()
        assert engine.state is State.FAILED
        assert engine.reason is not None
        assert runtime.loads == []
        with pytest.raises(Unavailable, match=reason):
            server.registry.ready("net")
        assert str(settings.store) not in engine.reason

        (engine, *_), created = await server.add(onnx_plan(), "net", instances=3)
        assert (engine.state, created) == (State.READY, False)
        assert plan_of(server).read_bytes() == onnx_plan()
        assert len(aside(settings.store)) == odd
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.stored.options.instances == 3


async def test_an_engine_with_lost_options_fails_until_an_upload_gives_them_again(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=3)
    db = sqlite3.connect(settings.store / "metadata.sqlite3")
    db.execute("UPDATE engine SET options = json_set(options, '$.instances', -3)")
    db.commit()
    db.close()
    (settings.store / "metadata.copy").unlink()
    async with serving(settings) as server:
        await loaded(server)
        with pytest.raises(Unavailable, match=r"damaged \(instances\): upload its plan again"):
            server.registry.ready("net")
        assert server.runtime.loads == []
        with pytest.raises(Exception, match=r"damaged \(instances\)"):
            await server.registry.load("net")
        await server.add(onnx_plan(), "net", instances=5)
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.stored.options.instances == 5


@pytest.mark.parametrize("damage", DAMAGES)
async def test_an_upload_repairs_the_plan_of_a_ready_engine(settings: Settings, damage: str) -> None:
    spoil, _, odd = DAMAGES[damage]
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(), "net")
        spoil(plan_of(server))
        (engine, *_), created = await server.add(onnx_plan(), "net")
        assert (engine.state, engine.id, created) == (State.READY, first.id, False)
        assert server.registry.ready("net").engine is engine
        assert engine is not first
        assert len(server.runtime.loads) == 2
        assert plan_of(server).read_bytes() == onnx_plan()
        assert len(aside(settings.store)) == odd


async def test_an_upload_of_an_intact_plan_changes_nothing(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(), "net")
        (again, *_), _ = await server.add(onnx_plan(), "net")
        assert again is first
        assert len(server.runtime.loads) == 1


async def test_a_repair_whose_load_fails_leaves_the_engine_failed(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        flipped(plan_of(server))
        server.runtime.load_error = Unavailable("No memory.")
        with pytest.raises(Unavailable, match="No memory"):
            await server.add(onnx_plan(), "net")
        (engine,) = server.registry.engines()
        assert (engine.state, engine.reason) == (State.FAILED, "No memory.")
        server.runtime.load_error = None
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        assert engine.state is State.READY


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
async def test_an_unreadable_plan_is_reported_and_repaired(
    settings: Settings, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        path, true_open = plan_of(server), os.open
        unreadable = path.stat().st_ino

        def refusing(file: Any, flags: int, *more: Any, **named: Any) -> int:
            if Path(file) == path and path.stat().st_ino == unreadable:
                raise OSError(code, os.strerror(code), str(file))
            return true_open(file, flags, *more, **named)

        monkeypatch.setattr(os, "open", refusing)
        with pytest.raises(Unavailable, match=f"cannot be read: {os.strerror(code)}") as refused:
            await server.registry.load("net")
        assert str(settings.store) not in str(refused.value)
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        assert engine.state is State.READY


@pytest.mark.parametrize("odd", ["a folder", "a dangling link", "a pipe"])
async def test_an_object_in_the_place_of_a_new_plan_is_set_aside(settings: Settings, odd: str) -> None:
    async with serving(settings) as server:
        staged = server.stage(onnx_plan())
        place = settings.store / "plans" / f"{staged.digest}.plan"
        place.touch()
        DAMAGES[odd][0](place)
        (engine, *_), created = await server.registry.add(staged, **server.asked(onnx_plan(), "net"))
        assert (engine.state, created) == (State.READY, True)
        assert aside(settings.store) == [place.name]


async def test_an_engine_can_be_removed_when_its_plan_is_a_folder(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        folder(plan_of(server))
        await server.registry.remove("net")
        assert (server.registry.engines(), server.files()) == ([], [])
        assert len(aside(settings.store)) == 1


async def test_reading_a_plan_does_not_block_the_store(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(1), "slow")
        gate, true_check = threading.Event(), server.store.check_plan

        def check(engine: Any) -> None:
            gate.wait()
            true_check(engine)

        monkeypatch.setattr(server.store, "check_plan", check)
        again = asyncio.create_task(server.add(onnx_plan(1), "slow"))
        (other, *_), _ = await server.add(onnx_plan(2), "quick")
        assert other.state is State.READY
        gate.set()
        await again
