"""What a client learns about an exception: one of ours, one from C++, or a bug."""

import math
from typing import NamedTuple

from runtime_ext import Error
from trtserve.errors import TrtserveError
from trtserve.shortage import shortage_behind
from trtserve.text import sentence

RETRIED = {"QueueFull", "Unavailable"}  # kinds that may pass
MOST_RETRY_AFTER = 60  # seconds


class Told(NamedTuple):
    """What an error's answer says, in HTTP and gRPC alike."""

    kind: str
    sentence: str
    retry_after: int | None  # seconds; None: a retry does not help
    status: int | None = None  # of HTTP, if it is not that of the kind
    challenge: str | None = None  # what WWW-Authenticate says


def is_fault(error: Exception) -> bool:
    """True for a bug: its text must not reach a client, and belongs in the log."""
    return not isinstance(error, (TrtserveError, Error))


def tell(error: Exception) -> Told:
    """The kind, sentence and retry time that a client gets for an exception from Python or C++."""
    if is_fault(error):
        error = shortage_behind(error) or error
    kind: str = "ExecutionFailed" if is_fault(error) else getattr(error, "kind", "ExecutionFailed")
    message = str(error) if not is_fault(error) else "The server failed unexpectedly; its log says how."
    retry_after = None
    if kind in RETRIED:
        after = getattr(error, "retry_after", None)
        retry_after = min(max(1, math.ceil(after or 0)), MOST_RETRY_AFTER)
    status, challenge = getattr(error, "status", None), getattr(error, "challenge", None)
    return Told(kind, sentence(message), retry_after, status, challenge)
