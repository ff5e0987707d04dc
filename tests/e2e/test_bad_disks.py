"""A server whose disk or store goes bad under it: each time a sentence, nothing lost, nothing left behind."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.e2e.disk import Disk, on, small_disk
from tests.e2e.server import HANGS_AFTER_S, SERVE, Server
from tests.seam.models import scaling

PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "48m") as made:
        yield made


@pytest.fixture
def on_disk(disk: Disk) -> Server:
    """A server that has not started, with its store on the small disk."""
    return Server(disk.folder / "store", command=on(disk, [*SERVE, "serve"]))


def plan_of(folder: Path, factor: int, padding: int = 0) -> bytes:
    """A model of y = factor * x, with so many bytes that do nothing."""
    plan = scaling(folder / "model.onnx", factor).read_bytes()
    return plan + b"\x32" + _varint(padding) + os.urandom(padding) if padding else plan


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def add(server: Server, name: str, plan: bytes) -> httpx.Response:
    return server.client.post("/engines", params={"name": name}, content=plan)


def answer(client: httpx.Client, name: str) -> float:
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    answered = client.post(f"/engines/{name}/infer", json=body)
    assert answered.status_code == 200, answered.text
    return float(answered.json()["outputs"][0]["data"][0])


class Load(threading.Thread):
    """Asks an engine all the time, and checks each answer."""

    def __init__(self, server: Server, name: str, right: float) -> None:
        super().__init__()
        self._url, self._name, self._right = server.client.base_url, name, right
        self._over = threading.Event()
        self.answers, self.wrong = 0, []

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=HANGS_AFTER_S) as client:
            while not self._over.is_set():
                try:
                    given = answer(client, self._name)
                except (AssertionError, httpx.HTTPError) as failure:
                    self.wrong.append(failure)
                    return
                if given != self._right:
                    self.wrong.append(given)
                self.answers += 1

    def end(self) -> None:
        self._over.set()
        self.join(HANGS_AFTER_S)
        assert self.wrong == []
        assert self.answers > 0


def test_a_full_disk_refuses_uploads_and_nothing_else(on_disk: Server, disk: Disk, tmp_path: Path) -> None:
    with on_disk as server:
        for name, factor in (("kept", 3), ("gone", 4), ("idle", 5)):
            add(server, name, plan_of(tmp_path, factor)).raise_for_status()
        load = Load(server, "kept", 3)
        load.start()
        disk.fill()
        engines = server.client.get("/engines").json()["engines"]
        for size in (0, 1_000_000):
            refused = add(server, "new", plan_of(tmp_path, 6, size))
            assert (refused.status_code, refused.json()["code"]) == (503, "Unavailable"), refused.text
            assert "MB free" in refused.json()["error"]
            assert str(disk.folder) not in refused.text
        assert server.client.get("/engines").json()["engines"] == engines
        for folder in ("incoming", "pending"):
            assert list(disk.seen(server.store / folder).iterdir()) == []

        server.client.delete("/engines/gone").raise_for_status()
        disk.fill()
        server.client.post("/v2/repository/models/idle/unload").raise_for_status()
        disk.fill()
        load.end()
        assert server.stop() == 0

        disk.fill()
        server.start()
        server.wait_until_ready()
        states = {e["name"]: e["state"] for e in server.client.get("/engines").json()["engines"]}
        assert states == {"kept": "READY", "idle": "UNLOADED"}
        assert answer(server.client, "kept") == 3

        disk.free()
        assert add(server, "new", plan_of(tmp_path, 6)).status_code == 201
        assert answer(server.client, "new") == 6
        assert "Traceback" not in server.log


def test_a_disk_that_fills_during_an_upload_keeps_none_of_it(
    on_disk: Server, disk: Disk, tmp_path: Path
) -> None:
    with on_disk as server:
        add(server, "kept", plan_of(tmp_path, 3)).raise_for_status()
        plan = plan_of(tmp_path, 6, 40_000_000)

        def halves():  # type: ignore[no-untyped-def]
            yield plan[:20_000_000]
            disk.fill()
            yield plan[20_000_000:]

        refused = server.client.post("/engines", content=halves())
        assert (refused.status_code, refused.json()["code"]) == (503, "Unavailable"), refused.text
        assert "MB free" in refused.json()["error"]
        assert list(disk.seen(server.store / "incoming").iterdir()) == []
        assert answer(server.client, "kept") == 3


def test_a_store_that_cannot_be_written_ends_the_start_with_a_sentence(
    on_disk: Server, disk: Disk, tmp_path: Path
) -> None:
    with on_disk as server:
        add(server, "kept", plan_of(tmp_path, 3)).raise_for_status()
        server.stop()
        disk.make_read_only(server.store)
        sentence = r"Error: The store .* cannot be used: Read-only file system"
        with pytest.raises(AssertionError, match=sentence):
            server.start()
        assert server.process.wait(HANGS_AFTER_S) == 1
        server.kill()  # it has ended: this only closes its log
        assert "Traceback" not in server.log
        disk.make_writable(server.store)
        server.start()
        server.wait_until_ready()
        assert answer(server.client, "kept") == 3


def test_a_store_that_turns_read_only_refuses_changes_and_nothing_else(
    on_disk: Server, disk: Disk, tmp_path: Path
) -> None:
    with on_disk as server:
        for name, factor in (("kept", 3), ("other", 4)):
            add(server, name, plan_of(tmp_path, factor)).raise_for_status()
        load = Load(server, "kept", 3)
        load.start()
        disk.make_read_only(server.store)
        for refused in (
            add(server, "new", plan_of(tmp_path, 6)),
            server.client.delete("/engines/other"),
            server.client.post("/v2/repository/models/other/unload"),
        ):
            assert (refused.status_code, refused.json()["code"]) == (503, "Unavailable"), refused.text
            assert "Read-only file system" in refused.json()["error"]
        assert answer(server.client, "other") == 4
        disk.make_writable(server.store)
        assert add(server, "new", plan_of(tmp_path, 6)).status_code == 201
        load.end()
        assert server.stop() == 0
        server.start()
        server.wait_until_ready()
        assert [answer(server.client, name) for name in ("kept", "other", "new")] == [3, 4, 6]
        assert len(list(disk.seen(server.store / "plans").iterdir())) == 3
        assert "Traceback" not in server.log


def test_metadata_that_is_damaged_while_the_server_runs_costs_no_answer_and_no_engine(
    tmp_path: Path, plan: bytes
) -> None:
    with Server(tmp_path / "store") as server:
        add(server, "kept", plan_of(tmp_path, 3)).raise_for_status()
        load = Load(server, "kept", 3)
        load.start()
        for name in ("metadata.sqlite3", "metadata.sqlite3-wal"):
            path = server.store / name
            with path.open("r+b") as file:
                file.write(np.random.default_rng(0).bytes(path.stat().st_size))
        told = add(server, "new", plan)
        assert told.status_code in (201, 503), told.text  # what SQLite has in memory may be enough
        load.end()
        assert server.stop() == 0
        with pytest.raises(AssertionError, match=r"Error: .*trtserve store check"):
            server.start()
        assert server.process.wait(HANGS_AFTER_S) == 1
        server.kill()  # it has ended: this only closes its log
        check = [*SERVE, "store", "check", "--repair", "--store", str(server.store)]
        assert subprocess.run(check, check=False, capture_output=True).returncode == 0
        server.start()
        server.wait_until_ready()
        assert answer(server.client, "kept") == 3
        if told.status_code == 201:
            assert server.client.get("/engines/new").status_code == 200
        assert "Traceback" not in server.log


def test_a_plan_whose_file_is_gone_is_not_loaded_again_and_harms_no_other(tmp_path: Path) -> None:
    with Server(tmp_path / "store") as server:
        for name, factor in (("kept", 3), ("gone", 4)):
            add(server, name, plan_of(tmp_path, factor)).raise_for_status()
        server.client.post("/v2/repository/models/gone/unload").raise_for_status()
        digest = server.client.get("/engines/gone").json()["digest"].removeprefix("sha256:")
        (server.store / "plans" / f"{digest}.plan").unlink()
        refused = server.client.post("/v2/repository/models/gone/load")
        assert refused.status_code == 503, refused.text
        assert "No such file or directory. Upload the plan again" in refused.json()["error"]
        assert server.client.get("/engines/gone").json()["state"] == "FAILED"
        assert server.client.get("/health/ready").status_code == 200
        assert answer(server.client, "kept") == 3
        assert add(server, "gone", plan_of(tmp_path, 4)).json()["state"] == "READY"
        assert answer(server.client, "gone") == 4
        assert "Traceback" not in server.log
