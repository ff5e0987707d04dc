"""The header Prefer (RFC 7240): whether a client wants an answer before the work is done."""

import re

from starlette.datastructures import Headers

RESPOND_ASYNC = "respond-async"
PREFERENCE = re.compile(r'((?:[^",]|"(?:[^"\\]|\\.)*(?:"|$))*)(?:,|$)')


def prefers_async(headers: Headers) -> bool:
    """True if `respond-async` is among the preferences, in any case, with parameters or without."""
    return any(
        re.split("[=;]", preference, maxsplit=1)[0].strip().lower() == RESPOND_ASYNC
        for line in headers.getlist("prefer")
        for preference in PREFERENCE.findall(line)
    )
