"""The header Prefer (RFC 7240): whether a client wants an answer before the work is done, and how soon."""

import re
from collections.abc import Iterator

from starlette.datastructures import Headers

RESPOND_ASYNC = "respond-async"
WAIT = "wait"
PREFERENCE = re.compile(r'((?:[^",]|"(?:[^"\\]|\\.)*(?:"|$))*)(?:,|$)')
LONGEST_WAIT_S = 24 * 3600.0


def prefers_async(headers: Headers) -> float | None:
    """The seconds after which a client that can come back for the result wants an answer, result or not.

    They are those of `wait` beside `respond-async`; 0 without `wait`, and None without `respond-async`: such
    a client waits for the result. Names count in any case, and with parameters or without.
    """
    preferences: dict[str, str] = {}
    for name, value in _preferences(headers):
        preferences.setdefault(name, value)  # the first of a name counts
    if RESPOND_ASYNC not in preferences:
        return None
    wait = preferences.get(WAIT, "")
    return min(float(wait), LONGEST_WAIT_S) if re.fullmatch("[0-9]{1,9}", wait) else 0.0


def _preferences(headers: Headers) -> Iterator[tuple[str, str]]:
    for line in headers.getlist("prefer"):
        for preference in PREFERENCE.findall(line):
            name, _, value = preference.partition(";")[0].partition("=")
            yield name.strip().lower(), value.strip().strip('"')
