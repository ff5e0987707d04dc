"""Checks the errors of refused plans, which must not show internals."""

from pathlib import Path

import pytest

import runtime_ext
from tests.seam.conftest import Harness

INTERNALS = ("/src/", ".cpp", ".hpp", "::", "Exception", "Check '", "_M_", "bad_")
"""Internals of OpenVINO and C++, which are useless to a client."""


def refusal(harness: Harness, folder: Path, content: bytes) -> runtime_ext.Error:
    """Return the error for a plan with this content; check that it shows neither its path nor internals."""
    path = folder / "refused.plan"
    path.write_bytes(content)
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(path)
    sentence = str(refused.value)
    for internal in (str(folder), *INTERNALS):
        assert internal not in sentence
    assert len(sentence) < 1000
    return refused.value
