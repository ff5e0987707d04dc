"""A server that others can reach does not start open unless it was told to."""

from pathlib import Path
from typing import Any

import pytest

from trtserve.access.opening import check_opening, demands_tokens
from trtserve.errors import InvalidInput
from trtserve.settings import Settings

TOKENS = {"token_file": Path("/etc/tokens.json")}
CLIENTS = {"tls_certificate": Path("/a"), "tls_client_ca": Path("/b")}
LOOPBACK = ["127.0.0.1", "127.9.9.9", "localhost", "::1"]
REACHABLE = ["0.0.0.0", "::", "*", "10.1.2.3", "192.0.2.1"]


@pytest.mark.parametrize("host", REACHABLE)
@pytest.mark.parametrize("more", [{}, {"tls_certificate": Path("/a")}])
def test_others_can_reach_only_a_server_that_knows_its_clients(host: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"trtserve tokens add.*--token-file.*--auth off") as refused:
        check_opening(Settings(host=host, **more))
    assert f"On {host} others" in str(refused.value)
    for known in (TOKENS, CLIENTS, {"auth": "off"}):
        check_opening(Settings(host=host, **known))


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_server_for_this_machine_alone_starts_without_tokens(host: str) -> None:
    check_opening(Settings(host=host))


@pytest.mark.parametrize("host", [*LOOPBACK, *REACHABLE])
def test_a_server_whose_authentication_is_required_starts_nowhere_without(host: str) -> None:
    with pytest.raises(InvalidInput, match="is required"):
        check_opening(Settings(host=host, auth="required"))
    for known in (TOKENS, CLIENTS):
        check_opening(Settings(host=host, auth="required", **known))


def test_tokens_are_demanded_where_there_is_a_file_of_them_unless_that_is_off() -> None:
    assert demands_tokens(Settings(**TOKENS))
    assert demands_tokens(Settings(auth="required", **TOKENS))
    assert not demands_tokens(Settings(auth="off", **TOKENS))
    assert not demands_tokens(Settings(**CLIENTS))
