"""A connection over TLS whose transport has been closed below it, before asyncio has said so."""

import asyncio

from trtserve.http.timed import _acknowledged, _undelivered


def test_a_transport_without_a_socket_has_nothing_left_to_deliver() -> None:
    gone = asyncio.Transport()  # it has no extra information, as uvloop's has none once it is closed
    assert _undelivered(gone) == 0
    assert _acknowledged(gone) == 0
