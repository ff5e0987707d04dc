"""The header Prefer."""

import pytest
from starlette.datastructures import Headers

from trtserve.http.prefer import prefers_async


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], None),
        (["respond-async"], 0),
        (["Respond-ASYNC"], 0),
        (["respond-async; foo=bar"], 0),
        (["return=minimal", "respond-async"], 0),
        (['note="a, respond-async"'], None),
        (['note="a \\" , respond-async"'], None),
        (["respond-asynchronously"], None),
        (["wait=respond-async"], None),
        ([""], None),
        (['note="unended, respond-async'], None),
        (["wait=10, respond-async"], 10),
        (["respond-async;a=b", "Wait = 10;c=d"], 10),
        (['respond-async, wait="10"'], 10),
        (["wait=10"], None),
        (["respond-async, wait=5, wait=50"], 5),
        (["respond-async, wait=-1"], 0),
        (["respond-async, wait=1e9"], 0),
        (["respond-async, wait=\u0661"], 0),
        (["respond-async, wait"], 0),
        (["respond-async, wait=999999999"], 86_400),
    ],
)
def test_respond_async_and_its_wait_are_found_among_other_preferences(
    lines: list[str], wanted: float | None
) -> None:
    headers = Headers(raw=[(b"prefer", line.encode()) for line in lines])
    assert prefers_async(headers) == wanted
