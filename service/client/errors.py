"""The errors of a client: those of trtserve.errors, told apart by an answer's `code`, and NoAnswer."""

import json

import httpx

from trtserve.errors import (
    BodyStalled,
    Forbidden,
    TrtserveError,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    of_kind,
)


class NoAnswer(Unavailable):
    """No server answered, or one that is none of trtserve's. It is not sent again: it may have been run."""


def error_of(response: httpx.Response) -> TrtserveError:
    """The error in an answer that is not a success, whose body has been read."""
    try:
        answer = json.loads(response.content)
        sentence, code = str(answer["error"]), str(answer["code"])
    except (ValueError, KeyError, TypeError):
        return NoAnswer(
            f"The server answered {response.status_code} {response.reason_phrase}: does another server than "
            "trtserve run there?"
        )
    challenge = response.headers.get("WWW-Authenticate")
    match response.status_code:
        case Unauthenticated.status:
            return Unauthenticated(sentence, challenge=challenge or "")
        case Forbidden.status:
            return Forbidden(sentence, challenge=challenge)
        case UnsupportedMedia.status:
            return UnsupportedMedia(sentence)
        case BodyStalled.status:
            return BodyStalled(sentence)
    seconds = response.headers.get("Retry-After", "")
    # A proxy may write a date there, which a clock of another machine gave: it counts as nothing.
    return of_kind(code, sentence, float(seconds) if seconds.isdecimal() else None)


def unreachable(url: object, failure: httpx.TransportError) -> NoAnswer:
    told = str(failure).rstrip(".") or type(failure).__name__
    return NoAnswer(f"No answer from {url}: {told}. Is a server running there (trtserve serve)?")
