"""The flags that say how a plan is built, of the commands that build one without a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from trtserve.options.batching import AUTO
from trtserve.options.build_options import AUTO_PROFILE, BuildPrecision
from trtserve.settings import MAX_BATCH_SIZE

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)


class _BatchSize(click.IntRange):
    """A number of items; `auto` stands for the one that an upload's build has."""

    name = "number or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return AUTO_PROFILE if value == AUTO else int(super().convert(value, param, ctx))


_FLAGS = (
    click.option(
        "--precision",
        type=click.Choice(get_args(BuildPrecision)),
        default="auto",
        help="Precision, as the installed TensorRT supports it.",
    ),
    click.option(
        "--profile",
        "profiles",
        multiple=True,
        metavar="X:1x3/8x3/32x3",
        help="An optimization profile: the least, best and greatest shape of each input, with a comma before "
        "the next input; give one for each profile.  [default: one for batches up to --max-batch-size]",
        show_default=False,
    ),
    click.option(
        "--max-batch-size",
        type=_BatchSize(1, MAX_BATCH_SIZE),
        default=AUTO,
        metavar="N|auto",
        help=f"Greatest batch of the profile, if none is given; auto: {AUTO_PROFILE}.",
    ),
    click.option(
        "--workspace-bytes",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="Memory that the build may use; 0: TensorRT's default.",
    ),
    click.option(
        "--timing-cache", type=FILE, metavar="FILE", help="Read and write a timing cache in this file."
    ),
    click.option("--device", default="auto", metavar="cuda|cuda:N", help="GPU to build on, and for."),
)


def build_flags(command: Command) -> Command:
    """Give a command the flags, as `precision`, `profiles`, `max_batch_size`, `workspace_bytes`,
    `timing_cache` and `device`."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command
