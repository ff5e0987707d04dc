"""`trtserve tokens`: who may use a server, and for what."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from trtserve.access import token_file
from trtserve.access.scopes import Scope
from trtserve.cli.console import json_option, print_json, print_table
from trtserve.errors import TrtserveError

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

file_option = click.option(
    "--token-file",
    "file",
    envvar="TRTSERVE_TOKEN_FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="The file of the tokens, which the server has as its --token-file.",
)


def _expiry(context: click.Context, option: click.Parameter, given: str | None) -> datetime | None:
    """The time that a span or a time stands for."""
    if given is None:
        return None
    now = datetime.now(UTC)
    span = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", given)
    try:
        found = now + int(span[1]) * UNITS[span[2]] if span else datetime.fromisoformat(given)
    except ValueError:
        raise click.BadParameter(
            f"{given!r} is neither a span (12h, 90d, 4w) nor a time (2027-01-31, 2027-01-31T12:00Z)."
        ) from None
    found = (found if found.tzinfo else found.replace(tzinfo=UTC)).replace(microsecond=0)
    if found <= now:
        raise click.BadParameter(f"{given!r} is over already.")
    return found


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure


@click.group()
def tokens() -> None:
    """Add, list and remove the tokens of a server. It reads their file again within two seconds."""


@tokens.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it allows: infer, manage (upload, remove, load, rename), metrics. Can be given several times.",
)
@click.option(
    "--engines",
    multiple=True,
    default=["*"],
    metavar="PATTERN",
    help="Names of the engines that it is for, such as team-a-*. Can be given several times.",
)
@click.option(
    "--expires",
    callback=_expiry,
    metavar="TIME",
    help="When it ends: in 12h, 90d or 4w, or at 2027-01-31T12:00Z.",
)
@json_option
@file_option
def add(
    name: str,
    scopes: tuple[str, ...],
    engines: tuple[str, ...],
    expires: datetime | None,
    file: Path,
    *,
    as_json: bool,
) -> None:
    """Add a token called NAME, and print it: this is the only time that it can be seen."""
    with _refusing():
        token = token_file.add(
            file,
            name,
            [Scope(scope) for scope in scopes],
            list(engines),
            now=datetime.now(UTC),
            expires=expires,
        )
    if as_json:
        print_json({"name": name, "token": token})
        return
    click.echo(f"Token {name} is in {file}. Send it as `Authorization: Bearer TOKEN`:", err=True)
    click.echo(token)


@tokens.command("ls")
@json_option
@file_option
def list_tokens(file: Path, *, as_json: bool) -> None:
    """List the tokens, which nothing can show again, with what they allow."""
    with _refusing():
        found = token_file.read(file)
    if as_json:
        fields = ("name", "id", "scopes", "engines", "created", "expires")
        print_json([{field: getattr(token, field) for field in fields} for token in found])
        return
    now = datetime.now(UTC)
    print_table(
        ["name", "id", "scopes", "engines", "created", "expires"],
        [
            (
                token.name,
                token.id,
                ",".join(token.scopes),
                ",".join(token.engines),
                f"{token.created:%Y-%m-%d}",
                _shown(token.expires, now),
            )
            for token in found
        ],
    )


def _shown(expires: datetime | None, now: datetime) -> str:
    if expires is None:
        return "never"
    return f"{expires.astimezone(UTC):%Y-%m-%dT%H:%MZ}" + (" (over)" if expires <= now else "")


@tokens.command("rm")
@click.argument("name")
@file_option
def remove(name: str, file: Path) -> None:
    """Remove the token called NAME: within a second or two the server refuses it."""
    with _refusing():
        token_file.remove(file, name)
    click.echo(f"Token {name} is removed.")
