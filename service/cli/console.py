"""Shared by the commands that talk to a server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson

from trtserve.client import Client, NoAnswer
from trtserve.client.connection import DEFAULT_URL
from trtserve.errors import TrtserveError, Unauthenticated
from trtserve.formats.format import ASKED_FORMATS
from trtserve.text import table

FORMAT = click.Choice(ASKED_FORMATS)

server_option = click.option(
    "--server",
    envvar="TRTSERVE_URL",
    default=DEFAULT_URL,
    metavar="URL",
    show_envvar=True,
    help="The server to talk to.",
)


def trace(environment: Mapping[str, str]) -> dict[str, str]:
    """The headers of the trace that a process is part of, as OpenTelemetry tells it in the environment."""
    names = ("traceparent", "tracestate")
    return {name: environment[name.upper()] for name in names if environment.get(name.upper())}


@contextmanager
def talking_to(server: str) -> Iterator[Client]:
    """A client whose errors end the command with their sentence."""
    try:
        # Only one attempt: a person sees the reason at once, and decides. The token comes only from the
        # environment: others can read a command line.
        with Client(server, attempts=1, headers=trace(os.environ)) as client:
            yield client
    except NoAnswer as failure:
        raise click.ClickException(f"{failure} Another server: --server or TRTSERVE_URL.") from failure
    except Unauthenticated as failure:
        raise click.ClickException(
            f"{failure} This command takes the token from TRTSERVE_TOKEN."
        ) from failure
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    except OSError as failure:  # of a file: those of the network are NoAnswer
        raise click.ClickException(f"{failure.filename}: {failure.strerror}.") from failure


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for line in table(columns, rows):
        click.echo(line)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

always_json = click.option("--json", is_flag=True, expose_value=False, help="As without it.")
"""For a command that prints nothing but JSON: a program need not know which those are."""


def print_json(value: Any) -> None:
    """Print it for programs, and readable for people."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))
