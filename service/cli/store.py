"""`trtserve store`: check, repair and back up the folder of a server."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from trtserve.cli.console import json_option, print_json
from trtserve.cli.settings import settings_of
from trtserve.errors import TrtserveError


@click.group()
def store() -> None:
    """Check, repair and back up a store."""


STORE = click.option(
    "--store", "root", metavar="DIR", help="Folder of the store.  [env: TRTSERVE_STORE]", show_default=False
)


@store.command()
@STORE
@click.option("--repair", is_flag=True, help="Repair what can be, and serve plans again that have no row.")
@click.option(
    "--use-database",
    is_flag=True,
    help="With --repair: take the database as it is, though its copy is newer: it was put back on purpose.",
)
@json_option
def check(root: str | None, repair: bool, use_database: bool, *, as_json: bool) -> None:
    """Report what is wrong with a store: damaged metadata, damaged plans, plans without an engine.

    Its server must be stopped. Reads every plan, and changes nothing without --repair. Exits with 1 if
    something is left to do.
    """
    if use_database and not repair:
        raise click.UsageError("--use-database goes with --repair.")
    settings = settings_of({"store": root})

    from trtserve.store.check import check as look
    from trtserve.store.repair import repair as mend

    try:
        done = mend(settings, use_database=use_database) if repair else []
        left = look(settings.store)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    if as_json:
        print_json({"repaired": done, "left": [{"wrong": one.wrong, "told": one.text} for one in left]})
    else:
        for sentence in done:
            click.echo(f"repaired: {sentence}")
        for finding in left:
            click.echo(str(finding))
        if not left:
            click.echo(f"The store {settings.store} is in order.")
    sys.exit(1 if any(finding.wrong for finding in left) else 0)


@store.command()
@STORE
@click.argument("target", metavar="TARGET", type=click.Path(path_type=Path))
@json_option
def backup(root: str | None, target: Path, *, as_json: bool) -> None:
    """Copy a store to a new folder TARGET, while a server may use it.

    Everything that was answered before is in the copy, which is a store: serve it, or put it in the place of
    the one that was lost. If a plan is damaged or cannot be read, it says which, copies the rest, and exits
    with 1.
    """
    settings = settings_of({"store": root})

    from trtserve.store.backup import backup as copy

    try:
        done = copy(settings.store, target)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    if as_json:
        print_json({"target": str(target), **asdict(done)})
        sys.exit(1 if done.damaged else 0)
    for sentence in done.damaged:
        click.echo(f"wrong: {sentence}")
    click.echo(f"{target} has {done.engines} engines, {done.size / 1e6:.1f} MB.")
    sys.exit(1 if done.damaged else 0)


@store.command()
@STORE
@click.option("--delete", is_flag=True, help="Delete these files. Without it they are only listed.")
@json_option
def gc(root: str | None, delete: bool, *, as_json: bool) -> None:
    """List the files that starts have set aside in the store of a stopped server, and delete them.

    A whole plan without a row is never among them: `trtserve store check --repair` serves it again, and you
    delete it by hand if you no longer want it.
    """
    settings = settings_of({"store": root})

    from trtserve.store.leftovers import delete_leftovers, leftovers

    try:
        found = delete_leftovers(settings.store) if delete else leftovers(settings.store)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    if as_json:
        print_json([{"path": str(path), "bytes": size, "deleted": delete} for path, size in found])
        return
    for path, size in found:
        click.echo(f"{'deleted' if delete else 'left over'}: {path} ({size} bytes)")
    if not found:
        click.echo(f"Nothing is left over in {settings.store}.")
    elif not delete:
        click.echo("Delete them with --delete.")
