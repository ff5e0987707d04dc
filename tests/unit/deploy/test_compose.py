"""The Compose project: what it mounts exists, Grafana finds what it shows, and nothing is open."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.rendering import DEPLOY
from trtserve.settings import Settings

COMPOSE = DEPLOY / "compose"


@pytest.fixture
def project() -> dict[str, Any]:
    return dict(yaml.safe_load((COMPOSE / "compose.yaml").read_text()))


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Where each file or folder of the repository is in the container."""
    pairs = (volume.split(":")[:2] for volume in service["volumes"])
    return {inside: outside for outside, inside in pairs if outside.startswith(".")}


def test_everything_that_is_mounted_exists(project: dict[str, Any]) -> None:
    for service in project["services"].values():
        for outside in mounts(service).values():
            assert (COMPOSE / outside).exists(), outside


def test_every_named_volume_is_declared(project: dict[str, Any]) -> None:
    volumes = [
        volume.split(":")[0] for service in project["services"].values() for volume in service["volumes"]
    ]
    assert {name for name in volumes if not name.startswith(".")} == project["volumes"].keys()


def test_no_port_is_open_to_other_machines(project: dict[str, Any]) -> None:
    ports = [port for service in project["services"].values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_scrapes_the_server(project: dict[str, Any]) -> None:
    found = mounts(project["services"]["prometheus"])
    config = COMPOSE / found["/etc/prometheus/prometheus.yml"]
    (job,) = yaml.safe_load(config.read_text())["scrape_configs"]
    ((target,),) = (group["targets"] for group in job["static_configs"])
    assert target == f"trtserve:{Settings.model_fields['port'].default}"
    assert "trtserve" in project["services"]
    assert "/etc/prometheus/alerts.yml" in found  # beside its config, which names it without a folder


def test_grafana_finds_prometheus_and_the_dashboard(project: dict[str, Any]) -> None:
    found = mounts(project["services"]["grafana"])
    provisioning = COMPOSE / found["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/trtserve.yml").read_text())["providers"]
    (dashboard,) = (inside for inside in found if Path(inside).is_relative_to(provider["options"]["path"]))
    assert json.loads((COMPOSE / found[dashboard]).read_text())["uid"] == "trtserve"


def test_grafana_is_of_the_version_that_the_dashboard_is_made_for(project: dict[str, Any]) -> None:
    requirements = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    (sdk,) = (one for one in requirements["optional-dependencies"]["test"] if "grafana" in one)
    image = project["services"]["grafana"]["image"]
    assert image.removeprefix("grafana/grafana:") == sdk.partition("!")[2]


def test_a_draining_server_is_not_killed(project: dict[str, Any]) -> None:
    grace = float(project["services"]["trtserve"]["stop_grace_period"].removesuffix("s"))
    assert grace > 2 * float(Settings.model_fields["drain_s"].default)


def test_every_variable_of_the_server_is_a_setting(project: dict[str, Any]) -> None:
    names = {
        name.removeprefix("TRTSERVE_").lower() for name in project["services"]["trtserve"]["environment"]
    }
    assert names <= Settings.model_fields.keys()


def test_no_container_may_do_more_than_it_must(project: dict[str, Any]) -> None:
    for service in project["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert project["services"]["trtserve"]["read_only"] is True


def test_the_file_for_a_gpu_changes_only_the_server() -> None:
    added = yaml.safe_load((COMPOSE / "gpu.yaml").read_text())
    (device,) = added["services"]["trtserve"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert added["services"].keys() == {"trtserve"}
