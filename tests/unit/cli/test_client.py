"""What the command line's client sends with each request."""

import httpx
import pytest

from trtserve.client import Client

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sent() -> httpx.Headers:
    """The headers of a request."""
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, content=b"{}")

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        client.version()
    (headers,) = seen
    return headers


def test_a_command_that_is_part_of_a_trace_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    monkeypatch.setenv("TRACESTATE", "a=1")
    assert (sent()["traceparent"], sent()["tracestate"]) == (PARENT, "a=1")


def test_any_other_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    monkeypatch.setenv("TRACESTATE", "")
    assert not {"traceparent", "tracestate"} & set(sent())
