"""What kubectl and helm make of deploy/: the objects that a cluster would get."""

import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "trtserve"
TOOLS = ROOT / "build" / "tools"
Objects = list[dict[str, Any]]


def tool(name: str) -> str:
    """The program that `make build/tools/.fetched` fetched, or that of the machine."""
    found = shutil.which(name, path=str(TOOLS)) or shutil.which(name)
    assert found is not None, f"{name} is missing: run make build/tools/.fetched"
    return found


@cache
def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def overlay(name: str) -> Objects:
    return list(yaml.safe_load_all(_run(tool("kubectl"), "kustomize", str(DEPLOY / "kustomize" / name))))


def chart(**values: str) -> Objects:
    """The chart's objects; `gpu__count="1"` is --set gpu.count=1."""
    return [made for made in yaml.safe_load_all(_run(*chart_command(values))) if made is not None]


def chart_command(values: Mapping[str, str]) -> list[str]:
    given = [f"--set={name.replace('__', '.')}={value}" for name, value in values.items()]
    return [tool("helm"), "template", "trtserve", str(CHART), "--namespace=trtserve", *given]


def only(objects: Objects, kind: str) -> dict[str, Any]:
    """The only object of this kind."""
    (found,) = (made for made in objects if made["kind"] == kind)
    return found


def pod_of(objects: Objects) -> dict[str, Any]:
    """The pod's specification of the only Deployment or StatefulSet."""
    (found,) = (made for made in objects if made["kind"] in {"Deployment", "StatefulSet"})
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def container_of(objects: Objects) -> dict[str, Any]:
    (container,) = pod_of(objects)["containers"]
    return dict(container)


def settings_of(objects: Objects) -> dict[str, str]:
    """The variables that the container gets from the only ConfigMap of settings."""
    (source,) = container_of(objects)["envFrom"]
    name = source["configMapRef"]["name"]
    (found,) = (made for made in objects if made["kind"] == "ConfigMap" and made["metadata"]["name"] == name)
    return dict(found["data"])
