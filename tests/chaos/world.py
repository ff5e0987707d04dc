"""The server under chaos, and what it has promised: acknowledged engines must be there, and right."""

import os
import random
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil

from tests.certificates import Files, client
from tests.e2e.server import Server
from tests.e2e.test_residency import OPTIONS, SIDE, model, weights
from tests.tokens import Tokens
from tests.waiting import wait_until

COMMAND = (sys.executable, "-m", "tests.fakes.with_tensorrt", "trtserve", "serve")
FIT = 4  # engines that the budget holds
ENGINES = 8  # that are there from the start; as many again come and go
LAST_LINES = 20  # of a log, in a report
SHARED = f"trtserve-chaos-{os.getpid()}-"  # of no other chaos on this machine


class World:
    """One server after another on one store. Thread safe."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.tally: Counter[str] = Counter()  # guarded by _lock, as are the next three
        self.wrong: list[str] = []
        self.engines: dict[str, int] = {}  # acknowledged: by name, the number of its model
        self.life = 0  # odd while the server is down or on its way there
        self._lock = threading.Lock()
        self.certificates = Files(folder)
        self._certificate = client(self.certificates.clients)
        self.tokens = Tokens(folder / "tokens.json")
        self.token = self.tokens.add("infer", "manage", "metrics", name="first")
        self._token_name = "first"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        (folder / "disk").mkdir(exist_ok=True)
        self.server = Server(
            folder / "disk" / "store",
            *self.certificates.mutual,
            *("--token-file", str(self.tokens.file), "--shared-memory", f"{SHARED}*", "--drain-s", "5"),
            grpc=True,
            command=COMMAND,
        )
        self.server.trust = self.certificates.trust(self.certificates.clients)
        self.server.headers = {"Authorization": self.token}
        self.server.variables = {"TMPDIR": str(self.temporary)}
        self._children: list[psutil.Process] = []

    def begin(self) -> None:
        """Load what the running server is to have, under a budget for some of it."""
        self.server.wait_until_ready()
        self.upload("warm", 50)  # the first load also opens the library
        taken = sum(self.upload("net0", 0)["memory"]["cpu"].values())
        self.server.variables["TRTSERVE_MEMORY_BUDGET"] = f"cpu={int((FIT + 0.5) * taken) + 8 * 1024**2}"
        self.server.stop()
        self.server.start()
        self.server.wait_until_ready()
        for number in range(1, ENGINES):
            self.upload(f"net{number}", number)

    # -- what is counted

    def count(self, what: str) -> None:
        with self._lock:
            self.tally[what] += 1

    def fault(self, what: str) -> None:
        """Note something that must not be."""
        with self._lock:
            self.wrong.append(what)

    def pick(self, chance: random.Random) -> tuple[str, int]:
        """A name that is there from the start, and its model's number."""
        number = chance.randrange(ENGINES)
        return f"net{number}", number

    def known(self) -> dict[str, int]:
        with self._lock:
            return dict(self.engines)

    def promise(self, name: str, number: int) -> None:
        with self._lock:
            self.engines[name] = number

    def release(self, name: str) -> None:
        with self._lock:
            self.engines.pop(name, None)

    # -- the server

    def client(self) -> httpx.Client:
        url = str(self.server.client.base_url)
        return httpx.Client(base_url=url, timeout=60, verify=self.server.trust)

    def channel(self) -> grpc.Channel:
        ours = self._certificate
        credentials = grpc.ssl_channel_credentials(
            self.certificates.authority.cert_pem.bytes(),
            ours.private_key_pem.bytes(),
            ours.cert_chain_pems[0].bytes(),
        )
        return grpc.secure_channel(self.server.grpc_address, credentials)

    def upload(self, name: str, number: int, **options: str) -> dict[str, Any]:
        """Upload a model, which is then promised."""
        params = {"name": name} | OPTIONS | options
        answer = self.server.client.post("/engines", params=params, content=model(number))
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        self.promise(name, number)
        return answer.json()

    def rotate_token(self) -> None:
        """Give everyone a new token, and take the old one back."""
        old, self._token_name = self._token_name, f"token-{self.chance.random()}"
        before, after = self.token, self.tokens.add("infer", "manage", "metrics", name=self._token_name)
        wait_until(lambda: self._asks(after) == 200, "the new token")
        self.token = after
        self.server.headers["Authorization"] = self.server.client.headers["Authorization"] = after
        self.tokens.remove(old)
        wait_until(lambda: self._asks(before) == 401, "the refusal of the old token")

    def _asks(self, token: str) -> int:
        return self.server.client.get("/engines", headers={"Authorization": token}).status_code

    def ends(self) -> None:
        """From here on connections may break."""
        self._children = psutil.Process(self.server.process.pid).children(recursive=True)
        with self._lock:
            self.life += 1

    def server_now(self) -> str:
        """Whether the server runs, for a report: it may have ended by itself."""
        last = "".join(self.server.log.splitlines(keepends=True)[-LAST_LINES:])
        return f"the server {self.server.now()}; its log ends with:\n{last}"

    def begins_again(self) -> None:
        """Start the next server, and check what it has."""
        _, alive = psutil.wait_procs(self._children, timeout=30)
        if alive:
            self.fault(f"child processes outlive their server: {alive}")
        self.server.start()
        self.server.wait_until_ready()
        with self._lock:
            self.life += 1
        self.check()

    def check(self, *, unsure: tuple[str, int] | None = None) -> None:
        """Every promised engine is there and right, and there are no other names, or files without rows."""
        listed = self.server.client.get("/engines").json()["engines"]
        names = {engine["name"] for engine in listed}
        for _ in (engine for engine in listed if engine["state"] == "DORMANT"):
            self.count("engines found evicted")
        promised = self.known()
        for name in promised.keys() - names:
            self.fault(f"lost: {name}")
        for name in names - promised.keys():
            self.server.client.delete(f"/engines/{name}").raise_for_status()
            self.count("unanswered uploads that were whole")
        for name, number in promised.items():
            if name in names and number >= 0:
                self._check_engine(name, number)
        folders = {name: _names(self.server.store / name) for name in ("incoming", "pending")}
        if any(folders.values()):
            self.fault(f"left behind: {folders}")
        if (self.server.store / "set-aside").exists():
            self.fault(f"set aside: {_names(self.server.store / 'set-aside')}")

    def _check_engine(self, name: str, number: int) -> None:
        x = np.ones((1, SIDE), np.float32)
        body = {"inputs": [{"name": "x", "shape": x.shape, "datatype": "FP32", "data": x.ravel().tolist()}]}
        for _ in range(20):  # it may have to wait for room
            answer = self.server.client.post(f"/v2/models/{name}/infer", json=body)
            if answer.status_code != 503:
                break
            self.count("refused: 503")
        if answer.status_code != 200:
            self.fault(f"{name} does not answer: {answer.status_code} {answer.text}")
        elif not is_right(np.array(answer.json()["outputs"][0]["data"], np.float32), x, number):
            self.fault(f"{name} answers wrongly after a start")
        self.count("promises checked")


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_right(found: np.ndarray[Any, Any], x: np.ndarray[Any, Any], number: int) -> bool:
    return bool(np.allclose(found.reshape(len(x), SIDE), x @ _weights(number), atol=1e-3))


_KNOWN: dict[int, np.ndarray[Any, Any]] = {}


def _weights(number: int) -> np.ndarray[Any, Any]:
    if number not in _KNOWN:
        _KNOWN[number] = weights(number)
    return _KNOWN[number]
