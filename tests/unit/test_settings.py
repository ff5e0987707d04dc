"""What settings may be."""

import pytest
from pydantic import ValidationError

from service.settings import GIB, Settings


@pytest.mark.parametrize("name", ["drain_s", "request_timeout_s"])
@pytest.mark.parametrize("value", ["inf", "nan", "-1"])
def test_a_time_is_a_finite_number(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def test_all_bodies_together_have_room_for_the_largest() -> None:
    with pytest.raises(ValidationError, match=r"at least max_request_bytes \(5368709120\)"):
        Settings(max_request_bytes=5 * GIB)
    settings = Settings(max_request_bytes=5 * GIB, max_inflight_bytes=5 * GIB)
    assert settings.max_inflight_bytes == 5 * GIB
