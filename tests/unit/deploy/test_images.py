"""The images that the Dockerfile makes are those that deploy/ starts: their names, user, ports and paths."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.rendering import DEPLOY, ROOT, chart, container_of, overlay, pod_of
from trtserve.settings import Settings
from trtserve.version import VERSION

STORE = "/var/lib/trtserve"


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def only(pattern: str, text: str) -> str:
    (found,) = set(re.findall(pattern, text, re.MULTILINE))
    return str(found)


def compose(*files: str) -> dict[str, Any]:
    """The server's service of the Compose files, the later over the earlier."""
    services = [yaml.safe_load((DEPLOY / "compose" / file).read_text())["services"] for file in files]
    return {key: value for each in services for key, value in each["trtserve"].items()}


def images() -> dict[str, str]:
    kserve = yaml.safe_load((DEPLOY / "kserve" / "servingruntime.yaml").read_text())
    return {
        "cpu overlay": container_of(overlay("cpu"))["image"],
        "gpu overlay": container_of(overlay("gpu"))["image"],
        "chart": container_of(chart())["image"],
        "chart with a GPU": container_of(chart(gpu__count="1"))["image"],
        "chart with a tag": container_of(chart(image__tag="mine"))["image"],
        "compose": re.sub(r"\$\{\w+:-(.*)\}", r"\1", compose("compose.yaml")["image"]),
        "compose with GPUs": re.sub(r"\$\{\w+:-(.*)\}", r"\1", compose("compose.yaml", "gpu.yaml")["image"]),
        "kserve": kserve["spec"]["containers"][0]["image"],
    }


def test_each_way_to_deploy_takes_the_image_for_its_device() -> None:
    gpu, cpu = f"trtserve:{VERSION}", f"trtserve:{VERSION}-cpu"
    assert images() == {
        "cpu overlay": cpu,
        "gpu overlay": gpu,
        "chart": cpu,
        "chart with a GPU": gpu,
        "chart with a tag": "trtserve:mine",
        "compose": cpu,
        "compose with GPUs": gpu,
        "kserve": gpu,
    }
    assert only(r"^IMAGE \?= (\S+)$", (ROOT / "Makefile").read_text()) == cpu


def test_an_image_without_a_named_target_is_the_one_for_gpus(dockerfile: str) -> None:
    assert re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)[-2:] == ["cpu", "gpu"]


@pytest.mark.parametrize("made", ["cpu", "gpu", "chart"])
def test_pods_run_as_the_images_user_on_the_images_volume(dockerfile: str, made: str) -> None:
    objects = chart() if made == "chart" else overlay(made)
    user, group = only(r"^USER (\d+:\d+)$", dockerfile).split(":")
    security = pod_of(objects)["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(group))
    mounted = {mount["mountPath"] for mount in container_of(objects)["volumeMounts"]}
    assert only(r"^VOLUME (\S+)$", dockerfile) in mounted


def test_the_images_ports_and_store_are_the_settings_that_it_starts_with(dockerfile: str) -> None:
    ports = {str(Settings.model_fields[name].default) for name in ("port", "grpc_port")}
    assert set(only(r"^EXPOSE (.*)$", dockerfile).split()) == ports
    assert {only(r"TRTSERVE_PORT=(\d+)", dockerfile), only(r"TRTSERVE_GRPC_PORT=(\d+)", dockerfile)} == ports
    assert only(r"TRTSERVE_STORE=(\S+)", dockerfile) == only(r"^VOLUME (\S+)$", dockerfile) == STORE
    assert compose("compose.yaml")["volumes"] == [f"store:{STORE}"]


def test_what_the_image_is_built_from_goes_to_the_builder(dockerfile: str) -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"!deploy/image", "!pyproject.toml", "!runtime_ext", "!service"} <= set(sent)
    for script in re.findall(r"deploy/image/\S+\.py", dockerfile):
        assert Path(ROOT / script).is_file()


@pytest.mark.parametrize("extra", ["tracing"])
def test_both_images_install_what_a_setting_needs(dockerfile: str, extra: str) -> None:
    """The CPU's installs what a command prints from pyproject.toml, and the GPU's names the extras."""
    told = dockerfile.replace("\\\n", "")
    (print_requirements,) = re.findall(r"(python -c '[^']*') > /trtserve\.txt", told)
    printed = subprocess.run(
        print_requirements.replace("python", sys.executable, 1),
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    assert set(wanted) <= set(printed.stdout.splitlines())
    assert extra in only(r"pip install --no-build-isolation '\.\[([\w,]+)\]'", told).split(",")
