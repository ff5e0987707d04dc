"""`trtserve store`: check and repair the folder of a stopped server."""

import sys

import click

from trtserve.cli.settings import settings_of
from trtserve.errors import TrtserveError


@click.group()
def store() -> None:
    """Check and repair the store of a stopped server."""


@store.command()
@click.option(
    "--store", "root", metavar="DIR", help="Folder of the store.  [env: TRTSERVE_STORE]", show_default=False
)
@click.option("--repair", is_flag=True, help="Repair what can be, and serve plans again that have no row.")
@click.option(
    "--use-database",
    is_flag=True,
    help="With --repair: take the database as it is, though its copy is newer: it was put back on purpose.",
)
def check(root: str | None, repair: bool, use_database: bool) -> None:
    """Report what is wrong with a store: damaged metadata, damaged plans, plans without an engine.

    Reads every plan, and changes nothing without --repair. Exits with 1 if something is left to do.
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
    for sentence in done:
        click.echo(f"repaired: {sentence}")
    for finding in left:
        click.echo(str(finding))
    if not left:
        click.echo(f"The store {settings.store} is in order.")
    sys.exit(1 if any(finding.wrong for finding in left) else 0)
