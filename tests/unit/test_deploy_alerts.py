"""Prometheus accepts the alerts in deploy/, and those on replicas and residency fire when they should."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "alerts.yml"
CASES = Path(__file__).with_name("alerts.test.yml")
PROMTOOL = shutil.which("promtool")


def promtool(*arguments: str) -> str:
    if PROMTOOL is None:
        pytest.skip("promtool is missing: on Debian, apt-get install prometheus")
    ended = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_prometheus_accepts_the_alerts() -> None:
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(ALERTS))


def test_alerts_on_replicas_and_residency_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(CASES))
