"""Requests generated from the OpenAPI description cause no server fault."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st

from tests.e2e.server import Server
from tests.seam.models import doubling
from trtserve.errors import HTTP_STATUS
from trtserve.server.app import create_app
from trtserve.settings import Settings

DESCRIPTION = schemathesis.openapi.from_dict(create_app(Settings(store=Path("unused"))).openapi())
OPERATIONS = [found.ok() for found in DESCRIPTION.get_all_operations()]
KNOWN = {"ref": "net", "name": "net", "version": "1"}  # path parameters that exist
REFUSALS = {"Unsupported", "Unavailable", "DeadlineExceeded"}  # the kinds above 500 that are not faults


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(tmp_path_factory.mktemp("openapi") / "store", "--drain-s", "1") as server:
        yield str(server.client.base_url)


@pytest.fixture
def engine(url: str, tmp_path: Path) -> None:
    """An engine with the name that some requests use."""
    plan = doubling(tmp_path / "net.onnx").read_bytes()
    httpx.post(f"{url}/engines", params={"name": KNOWN["name"]}, content=plan).raise_for_status()


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.label for operation in OPERATIONS])
def test_no_request_causes_a_server_fault(
    operation: schemathesis.schemas.APIOperation, url: str, engine: None
) -> None:
    @hypothesis.given(case=operation.as_strategy(), known=st.booleans())
    @hypothesis.settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
    )
    def check(case: schemathesis.Case, known: bool) -> None:
        if known:
            case.path_parameters = {
                name: KNOWN.get(name, value) for name, value in case.path_parameters.items()
            }
        answer = case.call(base_url=url, timeout=60)
        if answer.status_code < 400:
            return
        problem = answer.json()
        assert problem.keys() == {"error", "code"}
        assert problem["error"].endswith((".", "!", "?", "…"))
        assert answer.status_code < 500 or answer.status_code == HTTP_STATUS[problem["code"]]
        assert answer.status_code < 500 or problem["code"] in REFUSALS, problem

    check()
