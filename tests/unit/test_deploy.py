"""The settings, paths and times in deploy/ match the server."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.asgi import refused
from tests.fakes.runtime import FakeRuntime
from trtserve.access.opening import check_opening
from trtserve.access.token_file import BY_OTHERS
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "deploy" / "kubernetes.yaml"


def manifest(kind: str) -> dict[str, Any]:
    """The only object of this kind in the manifests."""
    (found,) = (item for item in yaml.safe_load_all(MANIFEST.read_text()) if item["kind"] == kind)
    return dict(found)


@pytest.fixture
def pod() -> dict[str, Any]:
    return dict(manifest("Deployment")["spec"]["template"]["spec"])


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    return dict(container)


@pytest.fixture
def in_the_pod(monkeypatch: pytest.MonkeyPatch, pod: dict[str, Any], container: dict[str, Any]) -> Settings:
    """The settings of the server in the pod, with the variables that Kubernetes adds for a Service."""
    service = manifest("Service")
    if pod.get("enableServiceLinks", True):
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        monkeypatch.setenv(f"{prefix}_PORT", f"tcp://10.96.0.7:{service['spec']['ports'][0]['port']}")
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    return Settings()


def test_a_service_adds_no_variable_that_is_a_setting(pod: dict[str, Any]) -> None:
    assert pod["enableServiceLinks"] is False


def test_every_variable_of_the_pod_is_a_setting(container: dict[str, Any]) -> None:
    assert {variable["name"] for variable in container["env"]} <= {
        f"TRTSERVE_{name.upper()}" for name in Settings.model_fields
    }


def test_the_ports_of_the_pod_match_the_server(in_the_pod: Settings, container: dict[str, Any]) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": in_the_pod.port, "grpc": in_the_pod.grpc_port}
    assert {port["targetPort"] for port in manifest("Service")["spec"]["ports"]} == ports.keys()
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(in_the_pod.port)


def test_the_pod_is_not_killed_while_it_drains(
    in_the_pod: Settings, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    before = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] > before + 2 * in_the_pod.drain_s


def test_the_pod_does_not_serve_strangers_and_may_read_its_tokens(
    in_the_pod: Settings, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    check_opening(in_the_pod.model_copy(update={"host": "0.0.0.0"}))  # as in the image
    assert in_the_pod.token_file is not None
    (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(in_the_pod.token_file.parent))
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    assert "subPath" not in mount
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
