"""Text for the sentences that people read."""

import math
import reprlib
from collections.abc import Sequence

LINE = 120  # characters

# Bounds the work as well as the length: repr() of a large value would write out all of it.
_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_brief.maxlist = 8
_brief.maxlevel = 2


def shown(value: object) -> str:
    """A value from outside, for a sentence: one short line, however large or deep the value is."""
    return cut(_brief.repr(value))


def cut(text: str) -> str:
    """Text from outside, for a sentence that shows it without quotes: at most LINE characters."""
    return text if len(text) <= LINE else text[: LINE - 1] + "…"


def printable(text: str) -> str:
    """Text from outside without line ends, control characters, or bytes that are no UTF-8: as escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop, which C++ leaves out of its exceptions."""
    if "_" not in text.partition(" ")[0]:  # an option's name keeps its spelling
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def listed(words: Sequence[str], joined: str = "and") -> str:
    """The words as a list in a sentence: a, b and c."""
    *first, last = words
    return f"{', '.join(first)} {joined} {last}" if first else last


def first_of(words: Sequence[str], most: int) -> str:
    """As many of the words as a person reads: a, b and 3 more."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def shown_bytes(size: float) -> str:
    """Bytes for a sentence: 3.1 GiB."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = min(int(math.log(size, 1024)) if size >= 1 else 0, len(units) - 1)
    return f"{size / 1024**step:.{min(step, 1)}f} {units[step]}"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: bool = False) -> list[str]:
    """The lines of a table for a console: None is a dash. `right`: the columns are numbers."""
    cells = [list(columns), *(["-" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = str.rjust if right else str.ljust
    return ["  ".join(map(aligned, row, widths)).rstrip() for row in cells]
