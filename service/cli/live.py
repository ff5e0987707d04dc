"""What a command shows while it works: lines in a pipe, and on a terminal a bar that moves below them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click


class Screen(Protocol):
    def line(self, text: str) -> None:
        """A line that stays."""

    def at(self, what: str, share: float) -> None:
        """What is done now, and how much of all is done, from 0 to 1."""


class _Pipe:
    def line(self, text: str) -> None:
        click.echo(text, err=True)

    def at(self, what: str, share: float) -> None:
        """A pipe has no place for what does not stay."""


@contextmanager
def screen() -> Iterator[Screen]:
    """On stderr, so that stdout has the results alone."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Pipe()
        return
    columns = (BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)

        class Terminal:
            def line(self, text: str) -> None:
                progress.print(text, markup=False, soft_wrap=True)

            def at(self, what: str, share: float) -> None:
                progress.update(task, completed=share, description=what)

        yield Terminal()
