"""`trtserve serve`: start a server, with an option for each setting."""

import os
import sys
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from trtserve.cli.settings import settings_of
from trtserve.errors import TrtserveError
from trtserve.settings import PATH_LISTS, Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def _settings_options(command: Command) -> Command:
    """Add an option for each setting; the environment and the default decide what is not given."""
    for name, field in reversed(Settings.model_fields.items()):
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=_choice(field),
            multiple=name in PATH_LISTS,
            metavar=None if _choice(field) else _metavar(name, field),
            help=f"{field.description}  [env: TRTSERVE_{name.upper()}; default: {_shown(field.default)}]",
            show_default=False,
        )(command)
    return command


def _choice(field: FieldInfo) -> click.Choice[str] | None:
    return click.Choice(get_args(field.annotation)) if get_origin(field.annotation) is Literal else None


def _metavar(name: str, field: FieldInfo) -> str:
    return "ON|OFF" if field.annotation is bool else name.rsplit("_", 1)[-1].upper()


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) if default not in {None, ""} else "none"


def _joined(given: str | tuple[str, ...] | None) -> str | None:
    return os.pathsep.join(given) if isinstance(given, tuple) else given


@click.command()
@_settings_options
@click.option(
    "--poll", "model_control_mode", flag_value="poll", help="The same as --model-control-mode poll."
)
def serve(**given: str | tuple[str, ...] | None) -> None:
    """Start the server; it runs until SIGINT or SIGTERM."""
    settings = settings_of({name: _joined(value) for name, value in given.items()})

    # No modules of torch, here and in child processes: see runtime_ext.torch_libraries.
    os.environ.setdefault("RUNTIME_EXT_TORCH", "libraries")
    from trtserve.server.process import serve as run  # takes a second: no other command should

    try:
        started = run(settings)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    sys.exit(0 if started else 1)
