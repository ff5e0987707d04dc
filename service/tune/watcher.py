"""Who is told of a search while it runs."""

from collections.abc import Callable
from typing import Protocol

from trtserve.tune.report import COLUMNS, Row, line
from trtserve.tune.target import Setting


class Watcher(Protocol):
    def say(self, sentence: str) -> None:
        """What a person should know."""

    def visit(self, round: str, setting: Setting, spent: float) -> None:
        """The setting is measured now; `spent` is the share of the budget, from 0 to 1."""

    def improved(self, row: Row) -> None:
        """This is the best row so far."""


class Shown:
    """Shows it: the sentences and the best rows as they are found in lines, and what is measured now."""

    def __init__(self, line: Callable[[str], None], at: Callable[[str, float], None]) -> None:
        self._line = line
        self._at = at
        self._has_columns = False

    def say(self, sentence: str) -> None:
        self._line(sentence)

    def visit(self, round: str, setting: Setting, spent: float) -> None:
        self._at(f"{round}: {setting}", spent)

    def improved(self, row: Row) -> None:
        if not self._has_columns:
            self._has_columns = True
            self._line("The best so far:")
            self._line("  ".join(COLUMNS))
        self._line(line(row))
