"""Numbers in options: lists of them, and amounts above zero."""

import math
import re
from collections.abc import Callable
from typing import Any

import click


def numbers(least: int, most: int, word: str | None = None) -> Callable[..., tuple[int | str, ...]]:
    """Reads comma-separated whole numbers, each once, and the word if there is one."""

    def read(_: click.Context, param: click.Parameter, given: str) -> tuple[int | str, ...]:
        found: dict[int | str, None] = {}
        for part in map(str.strip, given.split(",")):
            if part == word:
                found[part] = None
                continue
            if not re.fullmatch(r"[0-9]{1,9}", part) or not least <= int(part) <= most:
                also = f" or {word}" if word else ""
                raise click.BadParameter(
                    f"{part!r} is not a number from {least} to {most}{also}.", param=param
                )
            found[int(part)] = None
        return tuple(found)

    return read


class Amount(click.FloatRange):
    """A number above 0. Of click's own range, nan is a member: it is neither below nor above."""

    def __init__(self, most: float) -> None:
        super().__init__(0, most, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount = float(super().convert(value, param, ctx))
        if math.isnan(amount):
            self.fail(f"{value!r} is not a number above 0, and {self.max:g} at most.", param, ctx)
        return amount
