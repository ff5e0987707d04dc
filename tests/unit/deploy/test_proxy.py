"""The proxy of deploy/ allows clients only requests that change nothing: its locations against the routes."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

NGINX = (Path(__file__).parents[3] / "deploy" / "nginx.conf").read_text()
LOCATIONS = re.findall(r"^    location ([^{]*?) ?(\S+) \{\n(.*?)^    \}", NGINX, re.M | re.S)
EXAMPLES = {"ref": "net", "name": "net", "version": "1", "name:path": "net"}

pytestmark = pytest.mark.anyio


def open_to_clients(path: str, method: str) -> bool:
    """Decide as nginx does: an exact location, then the first matching expression, then the default."""
    for kind, pattern, body in LOCATIONS:
        if (kind == "=" and path == pattern) or (kind == "~" and re.search(pattern, path)):
            refused = "limit_except GET" in body and method not in {"GET", "HEAD"}
            return "trtserve-admins" not in body and not refused
    return False


def test_addresses_without_a_location_are_for_administrators() -> None:
    (body,) = [body for kind, pattern, body in LOCATIONS if (kind, pattern) == ("", "/")]
    assert "auth_basic_user_file /etc/nginx/trtserve-admins;" in body
    assert 'auth_basic "' in NGINX.split("location")[0]


async def test_a_client_can_call_models_and_change_nothing(app: FastAPI) -> None:
    allowed = set()
    for path, methods in app.openapi()["paths"].items():
        shown = re.sub(r"\{([^}]+)\}", lambda found: EXAMPLES[found[1]], path)
        allowed |= {
            f"{method.upper()} {path}" for method in methods if open_to_clients(shown, method.upper())
        }
    models = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
    assert allowed == {
        "POST /engines/{ref}/infer",
        "POST /modules/{ref}/infer",
        *(f"POST {model}/infer" for model in models),
        *(f"GET {model}{part}" for model in models for part in ("", "/ready", "/config", "/stats")),
        "GET /v2/models/stats",
        "GET /v2",
        "GET /v2/health/live",
        "GET /v2/health/ready",
    }


def test_a_grpc_client_can_call_only_methods_that_change_nothing() -> None:
    proto = (Path(__file__).parents[3] / "service" / "rpc" / "open_inference.proto").read_text()
    methods = set(re.findall(r"^  rpc (\w+)\(", proto, re.M))
    open_ones = {
        name for name in methods if open_to_clients(f"/inference.GRPCInferenceService/{name}", "POST")
    }
    changing = re.compile("Repository|SharedMemory|Setting")
    assert open_ones == {name for name in methods if not changing.search(name)}


@pytest.mark.parametrize(
    ("uri", "passed"),
    [
        ("/engines/net/infer", True),
        ("/engines?name=a%20b/../c", True),
        ("/v2/repository/index/../../../engines/net/infer", False),
        ("/v2/repository/models/net/unload%3F/infer", False),
        ("/./metrics", False),
        ("//metrics", False),
    ],
)
def test_a_path_that_nginx_reads_differently_is_refused(uri: str, passed: bool) -> None:
    (refused,) = re.findall(r'if \(\$request_uri ~ "(.*)"\)', NGINX)
    assert (re.search(refused, uri) is None) is passed
