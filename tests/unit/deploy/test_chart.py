"""What the chart makes of its values."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.deploy.rendering import (
    CHART,
    DEPLOY,
    chart,
    chart_command,
    only,
    pod_of,
    settings_of,
    tool,
)

ALERTS = DEPLOY / "alerts.yml"
SCALED = {"autoscaling__enabled": "true", "seed__claim": "plans"}


def refusal(**values: str) -> str:
    ended = subprocess.run(chart_command(values), capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    return ended.stderr


def test_helm_finds_no_fault() -> None:
    ended = subprocess.run(
        [tool("helm"), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_setting_reaches_the_server() -> None:
    assert settings_of(chart(settings__max_queue_size="64"))["TRTSERVE_MAX_QUEUE_SIZE"] == "64"
    assert settings_of(chart(settings__trial_load="false"))["TRTSERVE_TRIAL_LOAD"] == "false"


def test_numbers_of_a_file_are_written_out(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("settings: {max_plan_bytes: 17179869184, request_timeout_s: 0.5}")
    command = [*chart_command({}), "--values", str(values)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    made = settings_of([made for made in yaml.safe_load_all(ended.stdout) if made])
    assert made["TRTSERVE_MAX_PLAN_BYTES"] == "17179869184"
    assert made["TRTSERVE_REQUEST_TIMEOUT_S"] == "0.5"


def test_a_changed_setting_starts_new_pods() -> None:
    before, after = (
        only(chart(**values), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
        for values in ({"settings__drain_s": "30"}, {"settings__drain_s": "40"})
    )
    assert before != after


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"settings__max_queue_sise": "64"}, "max_queue_sise"),
        ({"settings__port": "80"}, "port"),
        ({"replica": "2"}, "replica"),
        ({"replicas": "0"}, "replicas"),
        ({"gpu__count": "-1"}, "count"),
        ({"persistence__size": "large"}, "size"),
        ({"autoscaling__enabled": "true"}, "seed.claim"),
        ({"tokens__secret": ""}, "settings.auth"),
        ({"settings__token_file": "/tmp/tokens"}, "token_file"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, str], named: str) -> None:
    assert named in refusal(**values)


def test_replicas_scale_with_the_waiting_requests() -> None:
    objects = chart(**SCALED)
    scaler = only(objects, "HorizontalPodAutoscaler")["spec"]
    workload = only(objects, "StatefulSet")
    assert scaler["scaleTargetRef"]["name"] == workload["metadata"]["name"]
    assert "replicas" not in workload["spec"]  # otherwise each upgrade would undo what the autoscaler chose
    adapter = yaml.safe_load((DEPLOY / "helm" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"] == "trtserve_queue_depth"


def test_a_new_replica_begins_with_a_copy_of_the_seed() -> None:
    objects = chart(seed__claim="plans")
    (seed,) = pod_of(objects)["initContainers"]
    (volume,) = (volume for volume in pod_of(objects)["volumes"] if volume["name"] == "seed")
    assert volume["persistentVolumeClaim"] == {"claimName": "plans", "readOnly": True}
    store = settings_of(objects)["TRTSERVE_STORE"]
    assert f"cd {store.rpartition('/')[0]}\n" in seed["args"][0]


def test_the_seed_is_copied_once_and_completely(tmp_path: Path) -> None:
    (seed,) = pod_of(chart(seed__claim="plans"))["initContainers"]
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "metadata.sqlite3").write_text("first")
    volume = tmp_path / "volume"
    (volume / "store.new").mkdir(parents=True)  # what an interrupted start left
    (volume / "store.new" / "half").touch()
    script = (
        seed["args"][0].replace("/var/lib/trtserve", str(volume)).replace("/seed", str(tmp_path / "seed"))
    )
    for text in ("first", "second"):
        (tmp_path / "seed" / "metadata.sqlite3").write_text(text)
        subprocess.run([*seed["command"], script], check=True)
    assert [path.name for path in volume.rglob("*")] == ["store", "metadata.sqlite3"]
    assert (volume / "store" / "metadata.sqlite3").read_text() == "first"


def test_secrets_are_mounted_and_probes_and_scrapes_use_tls() -> None:
    objects = chart(
        tokens__secret="a", tls__secret="b", serviceMonitor__enabled="true", serviceMonitor__token__secret="c"
    )
    pod = pod_of(objects)
    (container,) = pod["containers"]
    mounts = {
        mount["name"]: mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")
    }
    assert mounts == {"tokens": "/etc/trtserve/tokens", "tls": "/etc/trtserve/tls"}
    secrets = {
        volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume
    }
    assert secrets == {"tokens": "a", "tls": "b"}
    settings = settings_of(objects)
    assert settings["TRTSERVE_TLS_CERTIFICATE"] == f"{mounts['tls']}/tls.crt"
    assert settings["TRTSERVE_TLS_KEY"] == f"{mounts['tls']}/tls.key"
    assert {
        container[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {"HTTPS"}
    (endpoint,) = only(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["authorization"]["credentials"] == {"name": "c", "key": "token"}


def test_a_server_without_tokens_says_so_in_its_values() -> None:
    settings = settings_of(chart(tokens__secret="", settings__auth="off"))
    assert settings["TRTSERVE_AUTH"] == "off"
    assert "TRTSERVE_TOKEN_FILE" not in settings


def test_the_chart_carries_the_alerts_and_the_dashboard() -> None:
    objects = chart(prometheusRule__enabled="true", dashboard__enabled="true")
    assert only(objects, "PrometheusRule")["spec"] == yaml.safe_load(ALERTS.read_text())
    (dashboard,) = (
        made["data"]["trtserve.json"]
        for made in objects
        if made["kind"] == "ConfigMap" and made["metadata"]["name"].endswith("dashboard")
    )
    assert json.loads(dashboard) == json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
