"""A real Prometheus on a free loopback port, which scrapes one server and evaluates the alerts."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import httpx

from tests.waiting import wait_until

ALERTS = Path(__file__).parents[2] / "deploy" / "alerts.yml"
BINARY = shutil.which("prometheus")
HANGS_AFTER_S = 60  # only to end a test that would never end
SCRAPES_EVERY = "500ms"
INSTANCE = "server:8000"  # what the target is called, whatever its port is


class Prometheus:
    """`with` starts it in this folder, and stops it with SIGTERM."""

    def __init__(self, folder: Path, target: str) -> None:
        assert BINARY is not None, "prometheus is missing: on Debian, apt-get install prometheus"
        self._folder = folder
        self._config = {
            "global": {"scrape_interval": SCRAPES_EVERY, "evaluation_interval": SCRAPES_EVERY},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {
                    "job_name": "trtserve",
                    "scrape_timeout": SCRAPES_EVERY,
                    "static_configs": [{"targets": [target], "labels": {"instance": INSTANCE}}],
                }
            ],
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client()

    def __enter__(self) -> Self:
        assert BINARY is not None
        self._folder.mkdir()
        config = self._folder / "prometheus.yml"
        config.write_text(json.dumps(self._config))  # JSON is YAML
        command = [BINARY, f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'data'}"]
        with self._log.open("w") as log:  # not a pipe: one that nobody reads would stop it once it is full
            self._process = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=log)
        wait_until(lambda: self._address() is not None or self._has_ended(), "Prometheus")
        address = self._address()
        assert address is not None, f"Prometheus did not start:\n{self._log.read_text()}"
        self._client = httpx.Client(base_url=f"http://{address}", timeout=HANGS_AFTER_S)
        return self

    def _address(self) -> str | None:
        """Where it listens, once it says so."""
        listening = re.search(r'msg="Listening on" address=(127\.0\.0\.1:\d+)\b.*\n', self._log.read_text())
        return listening and listening[1]

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()
        assert self._process is not None
        self._process.terminate()
        self._process.wait(HANGS_AFTER_S)

    def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """The series that an expression has now, with their values."""
        found = self._get("query", query=expr)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def query_range(
        self, expr: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """The series of an expression from one time to another, in Unix seconds."""
        found = self._get("query_range", query=expr, start=start, end=end, step=step)["result"]
        return [
            (series["metric"], [(float(at), float(value)) for at, value in series["values"]])
            for series in found
        ]

    def rules(self) -> list[dict[str, Any]]:
        """The alerts as Prometheus knows them, each with the health of its last evaluation."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str | float) -> dict[str, Any]:
        try:
            answer = self._client.get(f"/api/v1/{what}", params=parameters)
        except httpx.TransportError as failure:
            raise AssertionError(f"{failure}; Prometheus says:\n{self._log.read_text()}") from failure
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return cast("dict[str, Any]", answer.json()["data"])
