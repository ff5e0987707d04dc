"""`trtserve engines`: list, add, remove and show the engines of a server."""

import sys
from pathlib import Path

import click
import orjson

from trtserve.cli.console import FORMAT, print_table, server_option, talking_to
from trtserve.cli.engine_options import engine_options

PLAN = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def engines() -> None:
    """List, add, remove and show the engines of a server."""


@engines.command("ls")
@server_option
def list_engines(server: str) -> None:
    """List the engines."""
    with talking_to(server) as client:
        found = client.engines()
    columns = ["id", "name", "version", "state", "backend", "device", "instances"]
    print_table(columns, [[engine[column] for column in columns] for engine in found])


@engines.command("add")
@click.argument("plan", type=PLAN)
@click.option("--name", help="What to call the engine.")
@click.option("--format", type=FORMAT, help="Format of the plan.")
@engine_options
@server_option
def add_engine(server: str, plan: Path, **query: str | int | None) -> None:
    """Upload PLAN and wait until its engine is ready."""
    asked = {name: value for name, value in query.items() if value is not None}
    size = plan.stat().st_size
    arrived = 0

    label = f"Sending {plan.name} ({size / 1e6:.1f} MB)"
    with talking_to(server) as client, click.progressbar(length=size, label=label, file=sys.stderr) as bar:

        def sent(count: int) -> None:
            nonlocal arrived
            arrived += count
            bar.update(count)
            if arrived == size:
                bar.render_finish()
                click.echo("Sent; the engine is loading …", err=True)

        engine, created = client.add(plan, asked, sent)
    known = f" ({engine['name']}, version {engine['version']})" if engine["name"] else ""
    loaded = f"loaded in {engine['load_seconds']:.2f} s" if created else "was there already"
    click.echo(f"Engine {engine['id']}{known} is {engine['state']}: {loaded}.")


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
@server_option
def show_engine(server: str, ref: str) -> None:
    """Show everything about an engine, as JSON."""
    with talking_to(server) as client:
        click.echo(orjson.dumps(client.engine(ref), option=orjson.OPT_INDENT_2))
