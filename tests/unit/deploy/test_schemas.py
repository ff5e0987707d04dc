"""Kubernetes' own schemas accept every object that the manifests and the chart make."""

import kubernetes_validate
import pytest

from tests.unit.deploy.rendering import Objects, chart, overlay
from tests.unit.deploy.test_pods import RENDERED

OLDEST, NEWEST = "1.27", "1.35"  # the oldest that the chart allows
CUSTOM = {"monitoring.coreos.com/v1", "serving.kserve.io/v1alpha1", "serving.kserve.io/v1beta1"}


@pytest.fixture(params=RENDERED)
def objects(request: pytest.FixtureRequest) -> Objects:
    return RENDERED[request.param]()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid(objects: Objects, version: str) -> None:
    checked = [made for made in objects if made["apiVersion"] not in CUSTOM]
    for made in checked:
        kubernetes_validate.validate(made, version, strict=True)
    assert len(checked) >= 5


def test_a_misspelt_field_is_found() -> None:
    for objects in (overlay("cpu"), chart()):
        (policy,) = (made for made in objects if made["kind"] == "NetworkPolicy")
        policy["spec"]["egres"] = []
        with pytest.raises(kubernetes_validate.ValidationError, match="egres"):
            kubernetes_validate.validate(policy, NEWEST, strict=True)
