"""`trtserve names`: which versions a name has, and which of them is current."""

import click

from trtserve.cli.console import always_json, json_option, print_json, print_table, server_option, talking_to


@click.group()
def names() -> None:
    """List the names of a server, and move them between versions."""


@names.command("ls")
@json_option
@server_option
def list_names(server: str, *, as_json: bool) -> None:
    """List the names with their versions; * is the current one."""
    with talking_to(server) as client:
        found = client.names()
    if as_json:
        print_json(found)
        return
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
@always_json
@server_option
def show_name(server: str, name: str) -> None:
    """Show the versions of a name, as JSON."""
    with talking_to(server) as client:
        print_json(client.name(name))


@names.command("set")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@json_option
@server_option
def point_name(server: str, name: str, version: int, *, as_json: bool) -> None:
    """Make VERSION the current one of NAME; returns when it is."""
    with talking_to(server) as client:
        moved = client.point(name, version)
    if as_json:
        print_json(moved)
        return
    click.echo(f"{moved['name']} is version {moved['current']} now.")
