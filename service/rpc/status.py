"""Errors as gRPC reports them at the end of a call: status, sentence, and trailing metadata for programs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc import StatusCode

from trtserve import failures
from trtserve.errors import Cancelled, Forbidden, Unauthenticated
from trtserve.failures import Told
from trtserve.telemetry.observed import SUCCESS, Observed

logger = logging.getLogger(__name__)

T = TypeVar("T")

GRPC_STATUS: dict[str, StatusCode] = {
    "InvalidInput": StatusCode.INVALID_ARGUMENT,
    "NotFound": StatusCode.NOT_FOUND,
    "Conflict": StatusCode.FAILED_PRECONDITION,
    "TooLarge": StatusCode.RESOURCE_EXHAUSTED,
    "QueueFull": StatusCode.RESOURCE_EXHAUSTED,
    "Cancelled": StatusCode.CANCELLED,
    "ExecutionFailed": StatusCode.INTERNAL,
    "Unsupported": StatusCode.UNIMPLEMENTED,
    "Unavailable": StatusCode.UNAVAILABLE,
    "DeadlineExceeded": StatusCode.DEADLINE_EXCEEDED,
}
"""The only table from a kind to the gRPC status of its call."""
OWN_STATUS = {
    Unauthenticated.status: StatusCode.UNAUTHENTICATED,
    Forbidden.status: StatusCode.PERMISSION_DENIED,
}
"""The gRPC status of errors that have an HTTP status of their own, by that status."""

SENTENCE_BYTES = 2048  # in UTF-8; escaping may triple them, and a client accepts 8 KiB in all

CODE = "code"  # the kind, which the status alone does not determine
RETRY_AFTER = "retry-after"  # seconds

Count = Callable[[str], None]
"""Counts an error answer, by its kind."""


def status(told: Told) -> tuple[StatusCode, str, tuple[tuple[str, str], ...]]:
    """The status, the sentence and the metadata to abort a call with."""
    metadata = [(CODE, told.kind)]
    if told.retry_after is not None:
        metadata.append((RETRY_AFTER, str(told.retry_after)))
    code = OWN_STATUS.get(told.status or 0) or GRPC_STATUS[told.kind]
    return code, _short(told.sentence), tuple(metadata)


def tell(error: Exception, count: Count) -> Told:
    """What a client learns about an error; counts the error, and logs it if it is a bug."""
    told = failures.tell(error)
    if failures.is_fault(error):
        logger.error("a call failed", exc_info=error)
    count(told.kind)
    return told


async def answered(
    answer: Awaitable[T],
    context: "grpc.aio.ServicerContext[Any, Any]",
    count: Count,
    observed: Observed | None = None,
) -> T:
    """The answer; if it raises, end the call with the error's status and sentence."""
    try:
        given = await answer
    except Exception as failure:
        told = tell(failure, count)
    except asyncio.CancelledError:
        if observed is not None:
            observed.end(StatusCode.CANCELLED.name, Cancelled.kind, 0)
        raise
    else:
        if observed is not None:
            context.set_trailing_metadata(tuple(observed.headers()))
            observed.end(StatusCode.OK.name, SUCCESS, len(given) if isinstance(given, bytes) else 0)
        return given
    # Outside the handler: gRPC keeps what abort() raises, and that would keep the failure and its frames.
    code, sentence, metadata = status(told)
    if observed is not None:
        metadata = (*metadata, *observed.headers(failed=True))
        observed.end(code.name, told.kind, 0)
    try:
        await context.abort(code, sentence, metadata)
    except grpc.aio.InternalError:  # the call is over, because its client has left
        raise asyncio.CancelledError from None
    raise AssertionError("abort() raises")


def _short(sentence: str) -> str:
    """The sentence, cut if it is long: clients refuse a status that is too large, and show none of it."""
    written = sentence.encode()
    if len(written) <= SENTENCE_BYTES:
        return sentence
    return written[:SENTENCE_BYTES].decode(errors="ignore") + "…"
