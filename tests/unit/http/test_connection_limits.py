"""Limits on the number of connections, in total and per address."""

import resource
from typing import Any

import pytest

from trtserve.errors import Unavailable
from trtserve.http.connection_limits import Connections, Phase, Standing
from trtserve.settings import Settings, most_connections, most_per_address


class NoLoop:
    def time(self) -> float:
        return 0.0

    def call_later(self, delay: float, callback: object) -> None:
        """Ignore the timer: the time stands still."""


class Waiting:
    """A connection that waits for its answer."""

    loop: Any = NoLoop()

    def standing(self) -> Standing:
        return Standing(Phase.WAITING, 0, 0)

    def end_late(self, phase: Phase) -> None:
        raise AssertionError("it may take for ever")

    def give_up(self) -> None:
        """Do nothing: no request is under way."""


def counted(settings: Settings, *addresses: str | None) -> int:
    """Connect from each address in turn; return how many were admitted."""
    connections = Connections(settings)
    for address in addresses:
        try:
            connections.add(Waiting(), address)
        except Unavailable:
            continue
    return len(connections)


@pytest.mark.parametrize(
    ("addresses", "admitted"),
    [
        (["10.0.0.1", "10.0.0.1", "10.0.0.2"], 2),
        (["::1", "::1", "127.0.0.1"], 2),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"], 1),
        (["2001:db8::1", "2001:db8:0:1::1"], 2),
        (["::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.2"], 2),
        (["fe80::1%eth0", "fe80::1%eth1"], 1),
        ([None, None], 1),
    ],
    ids=str,
)
def test_addresses_of_one_owner_are_counted_together(addresses: list[str | None], admitted: int) -> None:
    assert counted(Settings(max_connections_per_address=1), *addresses) == admitted


def test_a_closed_connection_makes_room() -> None:
    connections = Connections(Settings(max_connections=2, max_connections_per_address=1))
    first, over = Waiting(), Waiting()
    connections.add(first, "10.0.0.1")
    with pytest.raises(Unavailable):
        connections.add(over, "10.0.0.1")
    connections.remove(over)  # the end of a refused connection is reported too
    assert len(connections) == 1
    connections.remove(first)
    connections.add(over, "10.0.0.1")


@pytest.mark.parametrize(
    ("descriptors", "all_together", "of_one"),
    [
        (1024, 341, 299),
        (30, 16, 14),
        (1_000_000, 10_000, 8_750),
        (resource.RLIM_INFINITY, 10_000, 8_750),
    ],
)
def test_the_default_limits_follow_the_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, all_together: int, of_one: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert (most_connections(Settings()), most_per_address(Settings())) == (all_together, of_one)


def test_one_address_may_use_a_small_limit_entirely() -> None:
    settings = Settings(max_connections=3)
    assert most_per_address(settings) == 3
    assert counted(settings, *["10.0.0.1"] * 4) == 3
