"""A value from outside, for a sentence: on one line, however large or deep it is."""

import reprlib

LINE = 120  # characters

# Bounds the work as well as the length: repr() of a large value would write out all of it.
_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_brief.maxlist = 8
_brief.maxlevel = 2


def shown(value: object) -> str:
    return cut(_brief.repr(value))


def cut(text: str) -> str:
    """A text that has no place for quotes."""
    return text if len(text) <= LINE else text[: LINE - 1] + "…"
