"""The runtime for KServe starts a server that is ready once its models are there."""

import re
import subprocess
from typing import Any

import httpx
import pytest
import yaml

from tests.unit.deploy.rendering import DEPLOY
from trtserve.formats.format import Format
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

KSERVE = DEPLOY / "kserve"


@pytest.fixture
def runtime_spec() -> dict[str, Any]:
    return dict(yaml.safe_load((KSERVE / "servingruntime.yaml").read_text())["spec"])


@pytest.fixture
def container(runtime_spec: dict[str, Any]) -> dict[str, Any]:
    (container,) = runtime_spec["containers"]
    return dict(container)


def test_the_runtime_serves_every_format(runtime_spec: dict[str, Any]) -> None:
    formats = {known["name"] for known in runtime_spec["supportedModelFormats"]}
    assert formats == {format.value for format in Format}


def test_the_example_asks_for_this_runtime_and_one_of_its_formats(runtime_spec: dict[str, Any]) -> None:
    runtime = yaml.safe_load((KSERVE / "servingruntime.yaml").read_text())
    model = yaml.safe_load((KSERVE / "inferenceservice.yaml").read_text())["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in {known["name"] for known in runtime_spec["supportedModelFormats"]}
    assert model["protocolVersion"] in runtime_spec["protocolVersions"]


def test_ports_and_probes_match_the_server(
    monkeypatch: pytest.MonkeyPatch, runtime_spec: dict[str, Any], container: dict[str, Any]
) -> None:
    for variable in container["env"]:
        assert variable["name"].removeprefix("TRTSERVE_").lower() in Settings.model_fields
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = Settings()
    assert container["ports"] == [{"name": "http1", "containerPort": settings.port, "protocol": "TCP"}]
    assert runtime_spec["annotations"]["prometheus.kserve.io/port"] == str(settings.port)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == settings.port
    assert 2 * settings.drain_s < 30  # Kubernetes' default, which KServe leaves


async def test_the_pod_is_ready_once_its_model_is(
    client: httpx.AsyncClient, container: dict[str, Any]
) -> None:
    path = container["readinessProbe"]["httpGet"]["path"].replace("{{.Name}}", "net")
    assert (await client.get(path)).status_code == 404
    from tests.fakes.plans import onnx_plan

    await client.post("/engines", params={"name": "net"}, content=onnx_plan())
    assert (await client.get(path)).status_code == 200


def test_the_hook_uploads_each_model_under_the_service_s_name(
    tmp_path: Any, container: dict[str, Any]
) -> None:
    """Run the hook with a command in trtserve's place that fails at first, as before the server listens."""
    *shell, script = container["lifecycle"]["postStart"]["exec"]["command"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "double.onnx").touch()
    command = tmp_path / "trtserve"
    command.write_text(
        f'#!/bin/sh\necho "$TRTSERVE_URL $*" >> {tmp_path}/said\n'
        f'[ "$2" != ls ] || {{ [ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exit 1; }}; }}\n'
    )
    command.chmod(0o755)
    script = script.replace("{{.Name}}", "double").replace("/mnt/models", f"{tmp_path}/models")
    script = re.sub(r"sleep \d+", ":", script)
    subprocess.run([*shell, script], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    url = "http://127.0.0.1:8080"
    assert (tmp_path / "said").read_text().splitlines() == [
        f"{url} engines ls",
        f"{url} engines ls",
        f"{url} engines add {tmp_path}/models/double.onnx --name double",
    ]
