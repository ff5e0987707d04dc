"""What is said of URLs that cannot be read; tests/e2e reads real ones."""

import sys
from urllib.parse import urlsplit

import pytest
from fsspec.registry import _registry

from trtserve.errors import InvalidInput, Unavailable
from trtserve.folder.files import open_files


@pytest.mark.parametrize(
    ("url", "module"),
    [("s3://bucket/models", "s3fs"), ("gs://bucket", "gcsfs"), ("https://host/models", "aiohttp")],
)
def test_a_missing_extra_is_told_with_its_name(
    url: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    # fsspec keeps what it has once found, perhaps in another test.
    monkeypatch.delitem(_registry, urlsplit(url).scheme, raising=False)
    with pytest.raises(InvalidInput, match=r"pip install 'trtserve\[remote\]'"):
        open_files(url)


def test_a_scheme_that_nothing_reads_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be used"):
        open_files("nothing://host/models")


def test_a_password_is_not_told() -> None:
    files = open_files("http://user:secret@127.0.0.1:1/models")
    assert files.root == "http://127.0.0.1:1/models"
    with pytest.raises(Unavailable) as failure:
        files.entries()
    assert "secret" not in str(failure.value)
