"""A Ray cluster of one node on the loopback interface, with its own ports and folder."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from tests.e2e.server import environment
from tests.waiting import wait_until

HERE = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"
APPLICATION = "models"
HANGS_AFTER_S = 60  # only to end a test that would never end


class Cluster:
    """`with` starts it, and ends all of its processes."""

    def __init__(self) -> None:
        # Ray puts sockets there, whose paths must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._address = f"{LOOPBACK}:{free_port()}"
        self._port = free_port()
        self.stores = self._folder / "stores"
        self.plans = self._folder / "plans"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://{LOOPBACK}:{self._port}", timeout=60)

    def __enter__(self) -> Self:
        command = [str(HERE / "ray"), "start", "--head", "--block", f"--node-ip-address={LOOPBACK}"]
        command += [f"--port={self._address.rpartition(':')[2]}", "--include-dashboard=false"]
        command += ["--num-cpus=8", "--object-store-memory=100000000", "--disable-usage-stats"]
        command += [f"--temp-dir={self._folder / 'ray'}"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        try:
            wait_until(self._started, "Ray's start")
            ray.init(self._address, namespace="serve", log_to_driver=False, logging_level="error")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        try:
            serve.shutdown()
            ray.shutdown()
        finally:
            self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(HANGS_AFTER_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self) -> bool:
        assert self._process is not None
        said = (self._folder / "log").read_text()
        assert self._process.poll() is None, f"Ray ended: {said}"
        return "Ray runtime started" in said

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Whose descendants are all of the cluster's processes."""
        assert self._process is not None, "the cluster is not running"
        return self._process

    @property
    def handle(self) -> DeploymentHandle:
        return serve.get_app_handle(APPLICATION)

    def deploy(self, engines: dict[str, Any], **options: Any) -> None:
        """Let the application serve these engines; return once all its replicas do."""
        self.submit(engines, **options)
        wait_until(self._runs, "an application that runs")

    def submit(self, engines: dict[str, Any], **options: Any) -> None:
        """Deploy as a person does, with a Serve config."""
        config = self._folder / "serve.json"
        application = {
            "name": APPLICATION,
            "route_prefix": "/",
            "import_path": "trtserve.ray.application:app",
            "args": {
                "plans": str(self.plans),
                "settings": {"store": str(self.stores), "drain_s": 5},
            },
            "deployments": [{"name": "Engines", "user_config": {"engines": engines}, **options}],
        }
        http = {"host": LOOPBACK, "port": self._port}
        config.write_text(json.dumps({"http_options": http, "applications": [application]}))
        command = [str(HERE / "serve"), "run", "--non-blocking", "--address", self._address, str(config)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        assert "Submitted deploy config" in done.stdout + done.stderr, done.stdout + done.stderr

    def message(self) -> str:
        """What Ray says of the deployment."""
        return str(serve.status().applications[APPLICATION].deployments["Engines"].message)

    def _runs(self) -> bool:
        application = serve.status().applications[APPLICATION]
        healthy = all(deployed.status == "HEALTHY" for deployed in application.deployments.values())
        return application.status == "RUNNING" and healthy

    def replicas(self) -> dict[str, int]:
        """The stores that a living replica has, and its process."""
        owners = {}
        for lock in self.stores.glob("replica-*/LOCK"):
            owner = int(lock.read_text() or 0)
            if (lock.parent / "metadata.sqlite3").exists() and Path(f"/proc/{owner}").exists():
                owners[lock.parent.name] = owner
        return owners

    def stored(self) -> dict[str, set[str]]:
        """The digests of the plans in each store."""
        folders = self.stores.glob("replica-*")
        return {
            folder.name: {path.stem for path in folder.glob("plans/*.plan")}
            for folder in folders
            if (folder / "plans").exists()
        }


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as bound:
        return int(bound.getsockname()[1])
