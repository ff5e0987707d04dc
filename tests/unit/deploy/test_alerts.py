"""Prometheus accepts the alerts; each fires when it should, and the runbook says what to do then."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "alerts.yml"
CASES = Path(__file__).with_name("alerts.test.yml")


def promtool(*arguments: str) -> str:
    found = shutil.which("promtool")
    assert found is not None, "promtool is missing: on Debian, apt-get install prometheus"
    ended = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def alerts() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_prometheus_accepts_the_alerts() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", str(ALERTS))


def test_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(CASES))


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases: list[dict[str, Any]] = [
        case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]
    ]
    for fires in (True, False):
        covered = {case["alertname"] for case in cases if bool(case["exp_alerts"]) is fires}
        assert covered == set(alerts())


def test_the_runbook_has_an_entry_for_every_alert() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.M) == alerts()


def test_prometheus_accepts_the_scrape_configs() -> None:
    promtool("check", "config", "--syntax-only", str(ROOT / "deploy" / "prometheus.yml"))
    promtool("check", "config", "--syntax-only", str(ROOT / "deploy" / "compose" / "prometheus.yml"))
