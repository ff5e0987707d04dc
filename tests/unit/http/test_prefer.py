"""The header Prefer."""

import pytest
from starlette.datastructures import Headers

from trtserve.http.prefer import prefers_async


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], False),
        (["respond-async"], True),
        (["Respond-ASYNC"], True),
        (["wait=10, respond-async"], True),
        (["respond-async; foo=bar, wait=10"], True),
        (["return=minimal", "respond-async"], True),
        (['note="a, respond-async"'], False),
        (['note="a \\" , respond-async"'], False),
        (["respond-asynchronously"], False),
        (["wait=respond-async"], False),
        ([""], False),
        (['note="unended, respond-async'], False),
    ],
)
def test_respond_async_is_found_among_other_preferences(lines: list[str], wanted: bool) -> None:
    headers = Headers(raw=[(b"prefer", line.encode()) for line in lines])
    assert prefers_async(headers) is wanted
