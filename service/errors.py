"""The errors of trtserve.

TrtserveError
├── InvalidInput       400  the request is wrong and will stay wrong
├── NotFound           404  no such engine, name or version
├── Conflict           409  the current state forbids it: change that first
├── TooLarge           413  over a limit in this server's settings
├── QueueFull          429  the engine's queue is full: try again after `retry_after` seconds
├── Cancelled          499  the client left before the answer
├── ExecutionFailed    500  the engine ran and failed
├── Unsupported        501  this server cannot do it: it lacks a backend, a datatype or a feature
├── Unavailable        503  not now: the server is starting or draining, or a device is dead
└── DeadlineExceeded   504  the request's time ran out before its execution began

Four have a status of their own: Unauthenticated (401), Forbidden (403) and UnsupportedMedia (415), which are
InvalidInput, and BodyStalled (408), which is DeadlineExceeded.
"""

from typing import ClassVar

REPLACED_WITHIN_S = 5.0  # usually, by a warm restart


class TrtserveError(Exception):
    """Base of all errors; str() is a sentence for the person who reads it.

    `retry_after`: seconds until a retry makes sense. An Unavailable with it is a shortage, which may pass;
    one without it lasts until somebody acts, or is about to end by itself.
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


class Unauthenticated(InvalidInput):
    """A request without a token, or with one that this server does not know.

    `challenge`: what WWW-Authenticate says of it.
    """

    status: ClassVar[int] = 401

    def __init__(self, message: str, *, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class Forbidden(InvalidInput):
    """A request from a web page of another origin, for a host name that this server does not accept, or for
    more than its token allows. `challenge`: see Unauthenticated."""

    status: ClassVar[int] = 403

    def __init__(self, message: str = "", *, challenge: str | None = None) -> None:
        super().__init__(message)
        self.challenge = challenge


class UnsupportedMedia(InvalidInput):
    """A body whose coding or media type the server does not accept."""

    status: ClassVar[int] = 415


class BodyStalled(DeadlineExceeded):
    """A head or a body that stopped arriving: the client was too slow, not the server."""

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
"""The only table from a kind to the HTTP status of its answer."""


def stopping(more: str = "") -> Unavailable:
    """What is refused, or not done, because the server stops; `more` says what becomes of it."""
    return Unavailable(f"The server is stopping{more}.")


def resting() -> Unavailable:
    """What is refused while a new process takes over from this one."""
    return Unavailable(
        "The server is being replaced by a new process, which takes changes once it serves: try again in "
        "some seconds.",
        retry_after=REPLACED_WITHIN_S,
    )


def unknown_model(missing: NotFound) -> NotFound:
    """The error for a missing model or version, in Triton's words, which clients look for."""
    return NotFound(f"Request for unknown model: {missing}")


_BY_KIND: dict[str, type[TrtserveError]] = {cls.kind: cls for cls in TrtserveError.__subclasses__()}


def of_kind(kind: str, message: str, retry_after: float | None = None) -> TrtserveError:
    """The error for a kind that crossed the seam; an unknown kind gives ExecutionFailed."""
    return _BY_KIND.get(kind, ExecutionFailed)(message, retry_after=retry_after)
