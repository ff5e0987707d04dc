"""What the headers of a request ask for besides its answer."""

import re
from collections.abc import Iterable, Sequence

NAMES = ("x-request-id", "prefer")
TRACED = (*NAMES, "traceparent", "tracestate")
"""The headers that matter where requests are traced."""

QUIET = {"traceparent": "-00", "tracestate": ""}
"""Ends of values that ask for nothing: of a caller that does not sample, and of what means nothing alone."""

Asked = Sequence[bytes | None]
"""The values of these headers by their places above; None for one that is not there."""
REQUEST_ID, PREFER, TRACEPARENT, TRACESTATE = range(4)

# Safe in a header, a log and a shell. It holds UUIDs, base64 and the IDs of the large clouds.
ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
TIMING = re.compile(rb"(?:^|,)[ \t]*server-timing[ \t]*(?:[;=,]|$)", re.IGNORECASE)


def asked_in(headers: Iterable[tuple[bytes, bytes]], names: Sequence[str]) -> Asked | None:
    """What these headers ask for, whose names are in lower case; None if nothing.

    Of several with one name the first counts, but of several parents none (W3C Trace Context, 3.2).
    """
    found: list[bytes | None] = [None] * len(TRACED)
    several = False
    for name, value in headers:
        text = name.decode("latin-1")
        if text in names:
            place = names.index(text)
            if found[place] is None:
                found[place] = value.strip(b" \t")
            elif place == TRACEPARENT:
                several = True
    if several:
        found[TRACEPARENT] = None
    return None if found == [None] * len(TRACED) else found


def request_id(given: bytes | None) -> str | None:
    """A client's ID, if it is safe to write down; otherwise None."""
    return given.decode("ascii") if given is not None and ID.fullmatch(given) else None


def wants_timing(prefer: bytes | None) -> bool:
    """True if a client prefers an answer that tells its times (RFC 7240)."""
    return prefer is not None and TIMING.search(prefer) is not None
