"""docs/compare.md has complete rows; the tests that it and docs/security.md link to exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "compare.md"
PEERS = ["Triton", "KServe", "OVMS", "MLServer", "LitServe", "BentoML", "Ray Serve"]


def rows() -> list[list[str]]:
    """The table's rows as cells: its head first, without the line below it."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [table[0], *table[2:]]


def test_each_row_speaks_of_each_peer() -> None:
    head, *features = rows()
    assert head[1:] == ["trtserve", *PEERS]
    assert features
    for row in features:
        assert len(row) == len(head), row
        assert all(row), row


def test_each_yes_of_trtserve_links_to_a_test() -> None:
    for feature, ours, *_ in rows()[1:]:
        assert ours.startswith(("no", "only [", "[yes](../tests/")), feature


@pytest.mark.parametrize("page", ["compare.md", "security.md"])
def test_each_linked_test_exists(page: str) -> None:
    links = re.findall(r"\]\((\.\./tests/[^)]*)\)", (PAGE.parent / page).read_text())
    assert links
    for link in links:
        file = PAGE.parent / link
        assert file.name.startswith("test_"), link
        assert file.is_file(), link
