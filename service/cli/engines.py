"""`trtserve engines`: list, add, change, remove and show the engines of a server."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from trtserve.cli.console import (
    FORMAT,
    always_json,
    json_option,
    print_json,
    print_table,
    server_option,
    talking_to,
)
from trtserve.cli.engine_options import changed_options, engine_options
from trtserve.client import Client
from trtserve.errors import Unavailable

PLAN = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def engines() -> None:
    """List, add, change, remove and show the engines of a server."""


@engines.command("ls")
@json_option
@server_option
def list_engines(server: str, *, as_json: bool) -> None:
    """List the engines."""
    with talking_to(server) as client:
        found = client.engines()
    if as_json:
        print_json(found)
        return
    columns = ["id", "name", "version", "state", "backend", "device", "instances"]
    print_table(columns, [[_cell(engine, column) for column in columns] for engine in found])


def _cell(engine: dict[str, Any], column: str) -> object:
    """A cell of the table: of all names of an engine, and of a build how far it is."""
    if column in {"name", "version"}:
        return ", ".join(str(known[column]) for known in engine["names"]) or None
    if column == "state" and engine["state"] == "BUILDING" and engine["build"]["percent"] is not None:
        return f"BUILDING {engine['build']['percent']:.0f}%"
    return engine[column]


@engines.command("add")
@click.argument("plan", type=PLAN)
@click.option("--name", help="What to call the engine.")
@click.option("--format", type=FORMAT, help="Format of the plan.")
@engine_options
@json_option
@server_option
def add_engine(server: str, plan: Path, *, as_json: bool, **query: str | int | Sequence[str] | None) -> None:
    """Upload PLAN and wait until its engine is ready.

    From an ONNX model, --backend tensorrt or a --device cuda builds a plan on the server first. Ctrl-C then
    leaves the server building.
    """
    asked: dict[str, Any] = {name: value for name, value in query.items() if value not in {None, ()}}
    size = plan.stat().st_size

    label = f"Sending {plan.name} ({size / 1e6:.1f} MB)"
    with talking_to(server) as client, click.progressbar(length=size, label=label, file=sys.stderr) as bar:

        def progress(sent: int, size: int) -> None:
            bar.update(sent - bar.pos)
            if sent == size:
                bar.render_finish()
                click.echo("Sent; the engine is loading …", err=True)

        engine, is_new, is_accepted = client.upload(plan, progress=progress, **asked)
        if is_accepted:
            bar.render_finish()
            engine = _built(client, engine)
    if as_json:
        print_json(engine)
        return
    known = f" ({engine['name']}, version {engine['version']})" if engine["name"] else ""
    loaded = f"loaded in {engine['load_seconds']:.2f} s" if is_new else "was there already"
    click.echo(f"Engine {engine['id']}{known} is {engine['state']}: {loaded}.")


def _built(client: Client, engine: dict[str, Any]) -> dict[str, Any]:
    """The engine once its plan is built and loaded; ends the command if that fails."""
    id = str(engine["id"])
    with click.progressbar(
        length=100, label=f"Building engine {id}", file=sys.stderr, item_show_func=str, show_eta=False
    ) as bar:

        def looked(engine: dict[str, Any]) -> None:
            build = engine["build"]
            bar.update(max(0, int(build["percent"] or 0) - bar.pos), build["phase"] or "")

        try:
            return client.wait(engine, looked)
        except Unavailable as failure:
            raise click.ClickException(f"{failure} To remove it: trtserve engines rm {id}.") from failure


@engines.command("set")
@click.argument("ref", metavar="ID|NAME")
@changed_options
@click.option("--default", multiple=True, metavar="OPTION", help="An option that the server is to decide.")
@click.option(
    "--in-place", is_flag=True, help="Unload it before it is loaded: it refuses requests meanwhile."
)
@json_option
@server_option
def set_options(
    server: str,
    ref: str,
    *,
    default: tuple[str, ...],
    in_place: bool,
    as_json: bool,
    **options: int | str | None,
) -> None:
    """Give an engine other options while it serves; returns when it has them."""
    asked: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    asked |= dict.fromkeys((name.replace("-", "_") for name in default), None)
    if not asked:
        raise click.UsageError("No option is given: what is to change? For example --max-batch-size 8.")
    with talking_to(server) as client:
        engine = client.change(ref, in_place=in_place, **asked)
    if as_json:
        print_json(engine)
        return
    click.echo(f"Engine {engine['id']} is {engine['state']}, with {', '.join(asked)} as asked for.")


@engines.command("rm")
@click.argument("refs", metavar="ID|NAME...", nargs=-1, required=True)
@server_option
def remove_engines(server: str, refs: tuple[str, ...]) -> None:
    """Remove engines; returns when they have drained."""
    with talking_to(server) as client:
        for ref in refs:
            client.remove(ref)
            click.echo(f"Removed {ref}.")


@engines.command("show")
@click.argument("ref", metavar="ID|NAME")
@always_json
@server_option
def show_engine(server: str, ref: str) -> None:
    """Show everything about an engine, as JSON."""
    with talking_to(server) as client:
        print_json(client.engine(ref))
