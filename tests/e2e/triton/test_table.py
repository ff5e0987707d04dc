"""Checks the table of clients in docs/protocol.md: `test_<method>` in this folder covers each method's row.

A test that covers more rows than the one in its name is marked with `also_holds`.
"""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.e2e.triton.clients import KINDS, client_methods, is_unsupported, rows_of

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
NO_METHOD = "–"
MODULES = [path.stem for path in sorted(Path(__file__).parent.glob("test_*.py"))]


def table() -> dict[str, dict[str, str]]:
    """The cells of each method by client, and its note under `here`."""
    found = {}
    for method, cells in ROW.findall(DOCUMENT.read_text()):
        found[method] = dict(zip((*KINDS, "here"), (cell.strip() for cell in cells.split("|")), strict=True))
    return found


def holders() -> dict[str, Callable[..., None]]:
    """The test that covers each method."""
    found = {}
    for module in MODULES:
        for name, test in vars(import_module(f"{__package__}.{module}")).items():
            if name.startswith("test_") and callable(test):
                found |= dict.fromkeys(rows_of(test), test)
    return found


def kinds_of(test: Any) -> set[str]:
    """The clients that a test runs with."""
    return {kind for mark in test.pytestmark if mark.args[0] == "kind" for kind in mark.args[1]}


def test_the_table_has_every_method_of_every_client() -> None:
    has = {method: {kind for kind in KINDS if row[kind] != NO_METHOD} for method, row in table().items()}
    methods = {kind: client_methods(kind) for kind in KINDS}
    assert has == {
        method: {kind for kind in KINDS if method in methods[kind]} for method in set.union(*methods.values())
    }


def test_every_cell_of_the_table_is_covered_by_a_test() -> None:
    held = {method: kinds_of(test) for method, test in holders().items() if method in table()}
    for method, row in table().items():
        asked = {kind for kind in KINDS if row[kind] in {"✓", "501"}}
        assert asked | {kind for kind in KINDS if row[kind] == NO_METHOD} == set(KINDS), f"{method}: {row}"
        assert asked <= held.get(method, set()), method


def test_the_table_and_the_tests_agree_on_unsupported_methods() -> None:
    found = {
        method for method, test in holders().items() if is_unsupported.__name__ in test.__code__.co_names
    }
    rows = table().items()
    refused = {method for method, row in rows if "501" in (row[kind] for kind in KINDS)}
    assert refused <= found
    assert found - refused == {method for method, row in rows if "501 for" in row["here"]}
