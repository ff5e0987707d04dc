"""What both clients have in common: where the server is, who asks, and when a request is sent again."""

from collections.abc import Mapping
from typing import Any

import httpx
import tenacity

from trtserve.client.operations import Operation
from trtserve.client.upload import Upload
from trtserve.errors import InvalidInput, QueueFull, Unavailable

DEFAULT_URL = "http://127.0.0.1:8000"
ATTEMPTS = 5
LONGEST_WAIT_S = 60.0  # as long as the server's Retry-After can be
WRONG_URL = (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)
"""What httpx raises for a URL; the last of a host's name that is none."""


def full_url(url: str) -> str:
    """`url`, with http:// before it if it has no scheme: of localhost:8000 httpx takes localhost for one."""
    return url if "://" in url else f"http://{url}"


def arguments(url: str, token: str | None, more: Mapping[str, str] | None) -> dict[str, Any]:
    """What httpx's clients are made with; `more`: further headers of each request.

    Loads and executions have no time limit here; only the connection has one.
    """
    # httpx would ask for compressed answers, which take longer to make than to send.
    headers = {"Accept-Encoding": "identity"} | dict(more or {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return {"base_url": url, "headers": headers, "timeout": httpx.Timeout(None, connect=10.0)}


def built(client: httpx.Client | httpx.AsyncClient, operation: Operation[Any]) -> httpx.Request:
    """The request of an operation without an upload."""
    assert not isinstance(operation.body, Upload)
    return client.build_request(operation.method, operation.path, content=operation.body, **operation.sent)


def wrong_url(url: object, failure: Exception) -> InvalidInput:
    return InvalidInput(f"{url} is not the URL of a server: {str(failure).rstrip('.')}.")


def retries(attempts: int) -> dict[str, Any]:
    """What tenacity's Retrying and AsyncRetrying are made with.

    A request is sent again only if the server refused it before it did anything, and said when: a full queue,
    or a shortage that may pass. Anything else may have been run.
    """
    return {
        "retry": tenacity.retry_if_exception(_may_pass),
        "wait": _wait,
        "stop": tenacity.stop_after_attempt(attempts),
        "reraise": True,
    }


def _may_pass(failure: BaseException) -> bool:
    return isinstance(failure, QueueFull | Unavailable) and failure.retry_after is not None


def _wait(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(failure, QueueFull | Unavailable)
    return min(failure.retry_after or 0.0, LONGEST_WAIT_S)
