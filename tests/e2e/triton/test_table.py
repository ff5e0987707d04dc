"""The table of clients in docs/protocol.md: `test_<method>` in this folder holds the row of each method."""

import re
from importlib import import_module
from pathlib import Path

from tests.e2e.triton.clients import KINDS, client_methods

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
MODULES = [path.stem for path in sorted(Path(__file__).parent.glob("test_*.py"))]


def test_the_table_has_every_method_of_every_client() -> None:
    methods = set.union(*map(client_methods, KINDS))
    assert set(ROW.findall(DOCUMENT.read_text())) == methods


def test_every_row_of_the_table_is_held_by_a_test() -> None:
    held = {name for module in MODULES for name in vars(import_module(f"{__package__}.{module}"))}
    assert [method for method in ROW.findall(DOCUMENT.read_text()) if f"test_{method}" not in held] == []
