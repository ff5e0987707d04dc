"""`trtserve names`: which versions a name has, and which of them is current."""

import click
import orjson

from trtserve.cli.console import print_table, server_option, talking_to


@click.group()
def names() -> None:
    """List and show the names of a server, and move them between versions."""


@names.command("ls")
@server_option
def list_names(server: str) -> None:
    """List the names with their versions; * is the current one."""
    with talking_to(server) as client:
        found = client.names()
    columns = ["name", "version", "current", "id", "state"]
    print_table(
        columns,
        [
            (
                name["name"],
                version["version"],
                "*" if version["version"] == name["current"] else "",
                version["id"],
                version["state"],
            )
            for name in found
            for version in name["versions"]
        ],
    )


@names.command("show")
@click.argument("name")
@server_option
def show_name(server: str, name: str) -> None:
    """Show the versions of a name, as JSON."""
    with talking_to(server) as client:
        click.echo(orjson.dumps(client.name(name), option=orjson.OPT_INDENT_2))


@names.command("set")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@server_option
def point_name(server: str, name: str, version: int) -> None:
    """Make VERSION the current one of NAME; returns when it is."""
    with talking_to(server) as client:
        moved = client.point(name, version)
    click.echo(f"{moved['name']} is version {moved['current']} now.")
