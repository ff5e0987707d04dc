"""Engines, names and versions survive the end of the process, however it ends."""

import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.e2e.server import COMMAND, HANGS_AFTER_S, Server
from tests.seam.models import scaling
from tests.waiting import wait_until

CLIENTS = 4
PLANS = 2 * CLIENTS
KILLS = 6


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "store")
    yield server
    server.client.close()


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Distinct plans: y = factor * x for the factors 1 to PLANS."""
    folder = tmp_path_factory.mktemp("plans")
    return [scaling(folder / f"{factor}.onnx", factor).read_bytes() for factor in range(1, PLANS + 1)]


def answer_of(server: Server, ref: object) -> float:
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    answer = server.client.post(f"/engines/{ref}/infer", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]["data"][0]


def test_engines_names_and_versions_survive_a_restart(stopped: Server, plans: list[bytes]) -> None:
    with stopped as server:
        first, second = (
            server.client.post("/engines", params={"name": "net"}, content=plan).json() for plan in plans[:2]
        )
        unnamed = server.client.post("/engines", params={"instances": 3}, content=plans[2]).json()
        assert server.stop() == 0
        server.start()
        server.wait_until_ready()
        assert f"; the store {server.store} has 0 engines" in server.log
        assert f"; the store {server.store} has 3 engines" in server.log
        engines = {e["id"]: e for e in server.client.get("/engines").json()["engines"]}
        assert set(engines) == {first["id"], second["id"], unnamed["id"]}
        assert {e["state"] for e in engines.values()} == {"READY"}
        assert engines[unnamed["id"]]["instances"] == 3
        current = server.client.get("/engines/net").json()
        assert (current["id"], current["version"]) == (second["id"], 2)
        assert [answer_of(server, ref) for ref in (first["id"], "net", unnamed["id"])] == [1, 2, 3]


def test_an_interrupt_stops_the_server_as_sigterm_does(stopped: Server) -> None:
    with stopped as server:
        assert server.interrupt() == 0
        assert "Aborted" not in server.log
        assert "Traceback" not in server.log


def test_a_removed_engine_stays_removed(stopped: Server, plans: list[bytes]) -> None:
    with stopped as server:
        server.client.post("/engines", params={"name": "net"}, content=plans[0]).raise_for_status()
        server.client.delete("/engines/net").raise_for_status()
        server.kill()
        server.start()
        server.wait_until_ready()
        assert server.client.get("/engines").json() == {"engines": []}
        assert list((server.store / "plans").iterdir()) == []


def test_an_engine_whose_plan_file_is_gone_fails_with_the_reason(stopped: Server, plans: list[bytes]) -> None:
    with stopped as server:
        server.client.post("/engines", params={"name": "net"}, content=plans[0]).raise_for_status()
        server.stop()
        for file in (server.store / "plans").iterdir():
            file.unlink()
        server.start()
        server.wait_until_ready()
        engine = server.client.get("/engines/net").json()
        assert engine["state"] == "FAILED"
        refused = server.client.post("/engines/net/infer", json={"inputs": []})
        assert refused.status_code == 503
        assert engine["reason"] in refused.json()["error"]
        again = server.client.post("/engines", params={"name": "net"}, content=plans[0])
        assert (again.status_code, again.json()["state"]) == (200, "READY")


@pytest.mark.parametrize("damage", ["removed", "cut", "flipped"])
def test_a_log_damaged_after_a_kill_loses_no_engine(stopped: Server, plans: list[bytes], damage: str) -> None:
    with stopped as server:
        for number, plan in enumerate(plans[:3], start=1):
            server.client.post("/engines", params={"name": f"net{number}"}, content=plan).raise_for_status()
        server.kill()
        wal = server.store / "metadata.sqlite3-wal"
        whole = bytearray(wal.read_bytes())
        if damage == "flipped":
            whole[len(whole) // 2] ^= 1
            wal.write_bytes(whole)
        elif damage == "cut":
            wal.write_bytes(whole[: len(whole) // 2])
        else:
            wal.unlink()
        server.start()
        server.wait_until_ready()
        assert [answer_of(server, f"net{number}") for number in (1, 2, 3)] == [1, 2, 3]
        assert "The database is older than what was acknowledged" in server.log
        assert "Traceback" not in server.log


def test_a_plan_damaged_without_a_change_of_size_is_not_served_until_an_upload_repairs_it(
    stopped: Server, plans: list[bytes]
) -> None:
    with stopped as server:
        server.client.post("/engines", params={"name": "net"}, content=plans[1]).raise_for_status()
        server.stop()
        (file,) = (server.store / "plans").iterdir()
        damaged = bytearray(plans[1])
        at = damaged.index(np.float32(2).tobytes())
        damaged[at + 2] ^= 0x40  # changes the factor
        file.write_bytes(damaged)
        server.start()
        server.wait_until_ready()
        engine = server.client.get("/engines/net").json()
        assert (engine["state"], "is damaged" in engine["reason"]) == ("FAILED", True)
        for _ in range(2):  # first the damaged plan, then under the READY engine
            again = server.client.post("/engines", params={"name": "net"}, content=plans[1])
            assert (again.status_code, again.json()["state"]) == (200, "READY")
            assert answer_of(server, "net") == 2
            assert file.read_bytes() == plans[1]
            file.write_bytes(damaged)


@pytest.mark.parametrize("content", [b"garbage " * 2000, b"", None], ids=["garbage", "empty", "folder"])
def test_an_unreadable_database_ends_the_start_with_a_sentence_and_can_be_repaired(
    stopped: Server, plans: list[bytes], content: bytes | None
) -> None:
    with stopped as server:
        server.client.post("/engines", params={"name": "net"}, content=plans[0]).raise_for_status()
        server.stop()
        database = server.store / "metadata.sqlite3"
        database.unlink()
        database.mkdir() if content is None else database.write_bytes(content)
        with pytest.raises(AssertionError, match=r"Error: .*trtserve store check") as refused:
            server.start()
        assert "Traceback" not in str(refused.value)
        assert server.process.wait(HANGS_AFTER_S) == 1
        server.kill()  # it has ended: this only closes its log
        check = [str(COMMAND), "store", "check", "--store", str(server.store)]
        assert subprocess.run(check, check=False).returncode == 1
        assert subprocess.run([*check, "--repair"], check=False).returncode == 0
        server.start()
        server.wait_until_ready()
        assert answer_of(server, "net") == 1


def test_a_store_is_served_by_one_process_at_a_time(stopped: Server) -> None:
    with stopped as server:
        second = Server(server.store)
        with pytest.raises(AssertionError, match="in use by another server"):
            second.start()
        assert second.process.wait(HANGS_AFTER_S) == 1
        second.kill()  # it has ended: this only closes its log


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_at_a_random_moment_loses_nothing_acknowledged(
    stopped: Server, plans: list[bytes], seed: int
) -> None:
    """Clients upload and delete all the time; after the kill every acknowledged change holds.

    A change that was under way at the kill holds entirely or not at all.
    """
    rng = random.Random(seed)
    with stopped as server:
        clients = [
            Traffic(server, {2 * i + 1: plans[2 * i], 2 * i + 2: plans[2 * i + 1]}, rng.random())
            for i in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        moment = rng.randrange(1, 100)
        for number in range(1, moment + 1):  # the machine may be too busy for all of them in one wait
            wait_until(
                lambda number=number: sum(client.answers for client in clients) >= number, f"answer {number}"
            )
        server.kill()
        for client in clients:
            client.join()

        server.start()
        server.wait_until_ready()
        engines = {e["name"]: e for e in server.client.get("/engines").json()["engines"]}
        for client in clients:
            for factor, there in client.acknowledged.items():
                name = name_of(factor)
                if factor != client.under_way:
                    assert (name in engines) is there, f"{name}: {there}"
                if name in engines:
                    assert engines[name]["state"] == "READY"
                    assert answer_of(server, name) == factor
        digests = {e["digest"].removeprefix("sha256:") for e in engines.values()}
        assert {file.stem for file in (server.store / "plans").iterdir()} == digests
        assert list((server.store / "incoming").iterdir()) == []


def name_of(factor: int) -> str:
    return f"net{factor}"


class Traffic(threading.Thread):
    """Uploads and deletes plans, identified by factor, in a loop until the server is gone.

    `acknowledged`: whether each plan is stored, by its last answer. `under_way`: the factor of the
    unanswered call.
    """

    def __init__(self, server: Server, plans: dict[int, bytes], seed: float) -> None:
        super().__init__()
        self.acknowledged = dict.fromkeys(plans, False)
        self.under_way: int | None = None
        self.answers = 0
        self._plans = plans
        self._url = server.client.base_url
        self._rng = random.Random(seed)

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            try:
                while True:
                    self._call(client, self._rng.choice(list(self._plans)))
            except httpx.TransportError:
                return

    def _call(self, client: httpx.Client, factor: int) -> None:
        delete = self.acknowledged[factor] and self._rng.random() < 0.7
        self.under_way = factor
        if delete:
            answer = client.delete(f"/engines/{name_of(factor)}")
        else:
            answer = client.post("/engines", params={"name": name_of(factor)}, content=self._plans[factor])
        answer.raise_for_status()
        self.acknowledged[factor] = not delete
        self.answers += 1
        self.under_way = None
