"""What systemd hears of a server, over a socket as systemd's."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trtserve.server.supervisor import Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


async def heard(systemd: socket.socket) -> list[str]:
    said = await asyncio.to_thread(systemd.recv, 4096)
    return said.decode().split()


async def test_it_hears_that_the_server_listens_turns_and_stops(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    supervisor = Supervisor()
    supervisor.listening()
    assert await heard(systemd) == ["READY=1", f"MAINPID={os.getpid()}"]
    for _ in range(3):
        assert await heard(systemd) == ["WATCHDOG=1"]
    supervisor.stopping()
    while (said := await heard(systemd)) != ["STOPPING=1"]:
        assert said == ["WATCHDOG=1"]


async def test_it_hears_no_turns_that_it_does_not_wait_for(systemd: socket.socket) -> None:
    supervisor = Supervisor()
    supervisor.listening()
    supervisor.stopping()
    assert (await heard(systemd))[0] == "READY=1"
    assert await heard(systemd) == ["STOPPING=1"]


async def test_without_a_supervisor_nobody_is_told() -> None:
    supervisor = Supervisor({})
    supervisor.listening()
    supervisor.stopping()
