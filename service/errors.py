"""The errors of trtserve.

TrtserveError
├── InvalidInput       400  the request is wrong and will stay wrong
├── NotFound           404  no such engine, name or version
├── Conflict           409  the state of things forbids it: change that first
├── TooLarge           413  over a limit of this server's settings
├── QueueFull          429  the engine's queue is at its bound: try again after `retry_after` seconds
├── Cancelled          499  the client left before the answer
├── ExecutionFailed    500  the engine was run and failed
├── Unsupported        501  this server cannot do it: a backend, datatype or feature that is not there
├── Unavailable        503  not now: starting, draining, or a device that is dead
└── DeadlineExceeded   504  the request's time was over before its execution began

Three are answered with a status of their own: Forbidden and UnsupportedMedia, both an InvalidInput, with 403
and 415, and BodyStalled, a DeadlineExceeded, with 408.
"""

from typing import ClassVar


class TrtserveError(Exception):
    """Base of all; str() is a sentence for the person who reads it.

    `retry_after`: seconds until it is worth the while to try again. An Unavailable that has it is a shortage,
    which may pass; one without stays until somebody does something, or is about to end by itself.
    """

    kind: ClassVar[str]

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidInput(TrtserveError):
    kind = "InvalidInput"


class NotFound(TrtserveError):
    kind = "NotFound"


class Conflict(TrtserveError):
    kind = "Conflict"


class TooLarge(TrtserveError):
    kind = "TooLarge"


class QueueFull(TrtserveError):
    kind = "QueueFull"


class Cancelled(TrtserveError):
    kind = "Cancelled"


class ExecutionFailed(TrtserveError):
    kind = "ExecutionFailed"


class Unsupported(TrtserveError):
    kind = "Unsupported"


class Unavailable(TrtserveError):
    kind = "Unavailable"


class DeadlineExceeded(TrtserveError):
    kind = "DeadlineExceeded"


class Forbidden(InvalidInput):
    """A request that a web page sent which has no business here, or that is for a host by another name."""

    status: ClassVar[int] = 403


class UnsupportedMedia(InvalidInput):
    """A body of a coding or a media type that the server does not take."""

    status: ClassVar[int] = 415


class BodyStalled(DeadlineExceeded):
    """A head or a body that stopped coming: the client was too slow, not the server."""

    status: ClassVar[int] = 408


HTTP_STATUS: dict[str, int] = {
    "InvalidInput": 400,
    "NotFound": 404,
    "Conflict": 409,
    "TooLarge": 413,
    "QueueFull": 429,
    "Cancelled": 499,
    "ExecutionFailed": 500,
    "Unsupported": 501,
    "Unavailable": 503,
    "DeadlineExceeded": 504,
}
"""The one table from a kind to the status of its answer."""


def stopping(more: str = "") -> Unavailable:
    """What is refused, or not done, because the server stops; `more` says what becomes of it."""
    return Unavailable(f"The server is stopping{more}.")


def unknown_model(missing: NotFound) -> NotFound:
    """Of a model or a version that is not there: in Triton's words, which clients look for."""
    return NotFound(f"Request for unknown model: {missing}")


_BY_KIND: dict[str, type[TrtserveError]] = {cls.kind: cls for cls in TrtserveError.__subclasses__()}


def of_kind(kind: str, message: str, retry_after: float | None = None) -> TrtserveError:
    """The error of a kind that crossed the seam; an unknown kind is an ExecutionFailed."""
    return _BY_KIND.get(kind, ExecutionFailed)(message, retry_after=retry_after)
