"""Plans that are refused, and what no sentence about them may show."""

from pathlib import Path

import pytest

import runtime_ext
from tests.seam.conftest import Harness

INTERNALS = ("/src/", ".cpp", ".hpp", "::", "Exception", "Check '", "_M_", "bad_")
"""Of OpenVINO and of C++: of no use to a client."""


def refusal(harness: Harness, folder: Path, content: bytes) -> runtime_ext.Error:
    """The error for a plan with this content, which shows neither its path nor internals."""
    path = folder / "refused.plan"
    path.write_bytes(content)
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(path)
    sentence = str(refused.value)
    for internal in (str(folder), *INTERNALS):
        assert internal not in sentence
    assert len(sentence) < 1000
    return refused.value
