"""The settings, paths and times in the manifests and the chart match the server, and both say the same."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.asgi import refused
from tests.fakes.runtime import FakeRuntime
from tests.unit.deploy.rendering import (
    Objects,
    chart,
    container_of,
    only,
    overlay,
    pod_of,
    settings_of,
)
from trtserve.access.opening import check_opening
from trtserve.access.token_file import BY_OTHERS
from trtserve.addresses import on_loopback
from trtserve.errors import InvalidInput
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
RENDERED = {
    "cpu": lambda: overlay("cpu"),
    "gpu": lambda: overlay("gpu"),
    "chart": chart,
    "chart with a GPU": lambda: chart(gpu__count="1"),
    "chart with everything": lambda: chart(**EVERYTHING),
}
EVERYTHING = {
    "gpu__count": "1",
    "seed__claim": "plans",
    "tls__secret": "trtserve-tls",
    "autoscaling__enabled": "true",
    "serviceMonitor__enabled": "true",
    "serviceMonitor__token__secret": "trtserve-scraper",
    "prometheusRule__enabled": "true",
    "dashboard__enabled": "true",
}


@pytest.fixture(params=RENDERED)
def objects(request: pytest.FixtureRequest) -> Objects:
    return RENDERED[request.param]()


@pytest.fixture
def container(objects: Objects) -> dict[str, Any]:
    return container_of(objects)


@pytest.fixture
def in_the_pod(monkeypatch: pytest.MonkeyPatch, objects: Objects) -> Settings:
    """The settings of the server in the pod, with the variables that Kubernetes adds for a Service."""
    if pod_of(objects).get("enableServiceLinks", True):
        for service in (made for made in objects if made["kind"] == "Service"):
            prefix = service["metadata"]["name"].upper().replace("-", "_")
            monkeypatch.setenv(f"{prefix}_PORT", f"tcp://10.96.0.7:{service['spec']['ports'][0]['port']}")
    for name, value in settings_of(objects).items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_a_service_adds_no_variable_that_is_a_setting(objects: Objects) -> None:
    assert pod_of(objects)["enableServiceLinks"] is False


def test_every_variable_of_the_pod_is_a_setting(objects: Objects) -> None:
    assert settings_of(objects).keys() <= {f"TRTSERVE_{name.upper()}" for name in Settings.model_fields}


def test_the_pod_serves_no_strangers(
    in_the_pod: Settings, objects: Objects, container: dict[str, Any]
) -> None:
    """It reads the tokens of its secret; without one it does not start."""
    assert not on_loopback(in_the_pod.host)
    if in_the_pod.token_file is None:
        with pytest.raises(InvalidInput, match="trtserve tokens add"):
            check_opening(in_the_pod)
        return
    check_opening(in_the_pod)
    (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(in_the_pod.token_file.parent))
    (volume,) = (volume for volume in pod_of(objects)["volumes"] if volume["name"] == mount["name"])
    assert "subPath" not in mount, "a changed secret would not arrive"
    assert volume["secret"]["defaultMode"] & BY_OTHERS == 0, "the server would refuse the file"


def test_the_ports_of_the_pod_match_the_server(
    in_the_pod: Settings, objects: Objects, container: dict[str, Any]
) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": in_the_pod.port, "grpc": in_the_pod.grpc_port}
    services = [made for made in objects if made["kind"] == "Service"]
    for service in services:
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()
    assert in_the_pod.host == "0.0.0.0"


def test_the_store_is_on_the_volume(
    in_the_pod: Settings, objects: Objects, container: dict[str, Any]
) -> None:
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "store")
    assert Path(in_the_pod.store).is_relative_to(mount["mountPath"])
    volumes = {volume["name"] for volume in pod_of(objects)["volumes"]}
    claims = (
        only(objects, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
        if "StatefulSet" in kinds(objects)
        else []
    )
    assert "store" in volumes | {claim["metadata"]["name"] for claim in claims}


def test_the_pod_is_not_killed_while_it_drains(
    in_the_pod: Settings, objects: Objects, container: dict[str, Any]
) -> None:
    before = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod_of(objects)["terminationGracePeriodSeconds"] > before + 2 * in_the_pod.drain_s


def test_the_chart_gives_a_longer_drain_its_time() -> None:
    assert pod_of(chart(settings__drain_s="120"))["terminationGracePeriodSeconds"] > 2 * 120 + 5


def test_the_pod_does_not_serve_strangers_and_may_read_its_tokens(
    in_the_pod: Settings, objects: Objects, container: dict[str, Any]
) -> None:
    check_opening(in_the_pod)
    assert in_the_pod.token_file is not None
    (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(in_the_pod.token_file.parent))
    (volume,) = (volume for volume in pod_of(objects)["volumes"] if volume["name"] == mount["name"])
    assert "subPath" not in mount  # or a changed Secret never arrives
    assert volume["secret"]["defaultMode"] & BY_OTHERS == 0


def test_docker_does_not_kill_a_draining_server() -> None:
    given = re.search(r"docker run .*--stop-timeout (\d+)", (ROOT / "deploy" / "README.md").read_text())
    assert given is not None
    assert float(given[1]) > 2 * float(Settings.model_fields["drain_s"].default)


async def test_a_pod_without_engines_passes_every_probe(
    client: httpx.AsyncClient, container: dict[str, Any]
) -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"
        assert (await client.get(container[probe]["httpGet"]["path"])).status_code == 200


async def test_a_pod_with_a_dead_device_is_restarted(
    client: httpx.AsyncClient, runtime: FakeRuntime, container: dict[str, Any]
) -> None:
    runtime.dead = {"cuda:0": "the GPU fell off the bus"}
    path = container["livenessProbe"]["httpGet"]["path"]
    assert "is dead" in refused(await client.get(path), 503, "Unavailable")


def test_a_pod_gets_time_to_load_its_engines(container: dict[str, Any]) -> None:
    # Liveness is probed only after the startup probe passes, so a loading server may fail it.
    start = container["startupProbe"]
    assert start["httpGet"] == container["livenessProbe"]["httpGet"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 3600


def test_no_container_may_do_more_than_it_must(objects: Objects) -> None:
    pod = pod_of(objects)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_server_can_write_what_it_must(container: dict[str, Any]) -> None:
    written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/var/lib/trtserve", "/tmp"}


def test_only_named_pods_reach_the_server_and_it_reaches_nobody(objects: Objects) -> None:
    policy = only(objects, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    clients, monitoring = policy["ingress"]
    assert clients["from"] == [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"trtserve-client": "true"}}}
    ]
    assert [port["port"] for port in monitoring["ports"]] == ["http"]


def test_every_selector_chooses_the_pod(objects: Objects) -> None:
    (workload,) = (made for made in objects if made["kind"] in {"Deployment", "StatefulSet"})
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    selectors = {
        "Service": lambda spec: spec["selector"],
        "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        "Deployment": lambda spec: spec["selector"]["matchLabels"],
        "StatefulSet": lambda spec: spec["selector"]["matchLabels"],
    }
    for made in objects:
        if made["kind"] in selectors:
            assert selectors[made["kind"]](made["spec"]).items() <= labels, made["kind"]


def test_a_drain_of_a_node_is_not_blocked(objects: Objects) -> None:
    assert only(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("name", "gpus"), [("cpu", None), ("gpu", 1), ("chart", None), ("chart with a GPU", 1)]
)
def test_a_gpu_is_asked_for_where_one_is_needed(name: str, gpus: int | None) -> None:
    objects = RENDERED[name]()
    limits = container_of(objects)["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == gpus
    assert "memory" in limits
    tolerated = {toleration["key"] for toleration in pod_of(objects).get("tolerations", [])}
    assert tolerated == ({"nvidia.com/gpu"} if gpus else set())


@pytest.mark.parametrize("name", ["cpu", "chart with everything"])
def test_prometheus_scrapes_each_pod_once_under_the_job_of_the_alerts(name: str) -> None:
    objects = RENDERED[name]()
    monitor = only(objects, "ServiceMonitor")["spec"]
    services = [made for made in objects if made["kind"] == "Service"]
    chosen = [service for service in services if _selects(monitor["selector"], service["metadata"]["labels"])]
    (service,) = chosen
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "trtserve"
    (endpoint,) = monitor["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    refused = [
        rule["key"] for rule in selector.get("matchExpressions", []) if rule["operator"] == "DoesNotExist"
    ]
    return selector["matchLabels"].items() <= labels.items() and not labels.keys() & set(refused)


def test_manifests_and_chart_have_the_same_container() -> None:
    for name, of_the_chart in (("cpu", chart()), ("gpu", chart(gpu__count="1"))):
        mine, other = container_of(overlay(name)), container_of(of_the_chart)
        different = {key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)}
        assert different <= {"envFrom", "image", "imagePullPolicy", "volumeMounts"}


def kinds(objects: Objects) -> set[str]:
    return {made["kind"] for made in objects}
