"""The flags of `trtserve engines add` and `set` that are options of an engine, one for each."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from trtserve.options.build_options import BuildRequest
from trtserve.options.engine_options import UploadOptions

Command = TypeVar("Command", bound=Callable[..., Any])


def engine_options(command: Command) -> Command:
    """Give a command a flag for each option, and for each of a build.

    What is not given is left to the server.
    """
    return _flags(command, UploadOptions.model_fields | BuildRequest.model_fields)


def changed_options(command: Command) -> Command:
    """Give a command a flag for each option that can be changed. What is not given stays."""
    return _flags(command, UploadOptions.model_fields)


def _flags(command: Command, fields: dict[str, FieldInfo]) -> Command:
    for name, field in reversed(fields.items()):
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=_type(field),
            metavar=_metavar(name, field),
            multiple=get_origin(field.annotation) is list,
            help=(field.description or "").replace("`", ""),
        )(command)
    return command


class NumberOrWord(click.ParamType["int | str"]):
    """A number, or text that the server reads."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        return int(text) if text.isascii() and text.isdecimal() else text


def _type(field: FieldInfo) -> click.Choice[str] | NumberOrWord | type[int] | None:
    if get_origin(field.annotation) is Literal:
        return click.Choice(get_args(field.annotation))
    if int in get_args(field.annotation):
        return NumberOrWord()
    return int if field.annotation is int else None  # the server reads all else


def _metavar(name: str, field: FieldInfo) -> str | None:
    """None: click writes out what there is to choose from."""
    if get_origin(field.annotation) is Literal:
        return None
    if field.annotation is bool:
        return "ON|OFF"
    if get_origin(field.annotation) is list:
        return str(field.examples[0][0]) if field.examples else None
    words = [word for part in get_args(field.annotation) for word in get_args(part)]
    return "|".join([name.rsplit("_", 1)[-1].upper(), *words])
