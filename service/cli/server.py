"""Commands about a server as a whole: status, version, logs."""

import sys

import click

from trtserve.cli.console import json_option, print_json, print_table, server_option, talking_to
from trtserve.client import NoAnswer
from trtserve.errors import Unavailable


@click.command()
@json_option
@server_option
def status(server: str, *, as_json: bool) -> None:
    """Say whether the server is ready, and count its engines by state.

    Exits with 1 if the server is not ready.
    """
    with talking_to(server) as client:
        reason: str | None = None
        try:
            client.ready()
        except Unavailable as failure:
            if isinstance(failure, NoAnswer):
                raise
            reason = str(failure)
        versions = client.version()
        states: dict[str, int] = {}
        for engine in client.engines():
            states[engine["state"]] = states.get(engine["state"], 0) + 1
    if as_json:
        print_json({"ready": reason is None, "reason": reason, "engines": states, "version": versions})
    else:
        counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
        click.echo(f"{'Ready' if reason is None else reason}\nEngines: {counted}")
    sys.exit(0 if reason is None else 1)


@click.command()
@json_option
@server_option
def version(server: str, *, as_json: bool) -> None:
    """Show the versions of the server and its libraries. --version shows the version of this command."""
    with talking_to(server) as client:
        versions = client.version()
    if as_json:
        print_json(versions)
        return
    print_table(["what", "version"], [(name, shown) for name, shown in _flat(versions)])


def _flat(versions: dict[str, object]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, shown in versions.items():
        rows += _flat(shown) if isinstance(shown, dict) else [(name, shown)]
    return rows


@click.command()
@click.option("--lines", type=click.IntRange(1, 1000), default=100, help="The most lines.")
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="debug",
    help="The lowest level to list.",
)
@json_option
@server_option
def logs(server: str, lines: int, level: str, *, as_json: bool) -> None:
    """Show the last lines of the server's log, the newest last."""
    with talking_to(server) as client:
        found = client.logs(lines, level)
    if as_json:
        print_json(found)
        return
    for line in found:
        click.echo(f"{line['time']} {line['level'].upper():7} {line['logger']}: {line['message']}")
        if line["exception"]:
            click.echo(line["exception"])
