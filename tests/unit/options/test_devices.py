"""The devices that the option `device` names."""

import pytest

from trtserve.options.devices import left_out

DEAD = {"cuda:1": "it fell off the bus"}


@pytest.mark.parametrize(
    ("option", "devices", "expected"),
    [
        ("all", ["cuda:0"], ["cuda:1"]),
        ("cuda:0,cuda:1", ["cuda:0"], ["cuda:1"]),
        ("cuda:0,cuda:2", ["cuda:0"], []),
        ("all", ["cuda:0", "cuda:1"], []),  # it died after the load: it is no device that was left out
        ("cuda:1", ["cuda:1"], []),
        ("auto", ["cpu"], []),
        ("all", ["cpu"], []),
    ],
)
def test_the_devices_that_a_load_left_out_are_the_dead_ones_that_its_option_names(
    option: str, devices: list[str], expected: list[str]
) -> None:
    assert left_out(option, devices, DEAD) == expected
