"""Shared by the commands that talk to a server."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from trtserve.cli.client import Client, ServerError
from trtserve.formats.format import ASKED_FORMATS
from trtserve.text import table

FORMAT = click.Choice(ASKED_FORMATS)

server_option = click.option(
    "--server",
    envvar="TRTSERVE_URL",
    default="http://127.0.0.1:8000",
    metavar="URL",
    show_envvar=True,
    help="The server to talk to.",
)


@contextmanager
def talking_to(server: str) -> Iterator[Client]:
    """A client whose errors end the command with their sentence."""
    try:
        # Only from the environment: others can read a command line.
        with Client(server, token=os.environ.get("TRTSERVE_TOKEN") or None) as client:
            yield client
    except ServerError as failure:
        raise click.ClickException(str(failure)) from failure


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for line in table(columns, rows):
        click.echo(line)
