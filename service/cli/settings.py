"""Settings from a command's options and the environment."""

from collections.abc import Mapping
from typing import Any

import click
from pydantic import ValidationError

from trtserve.settings import Settings


def settings_of(given: Mapping[str, str | None]) -> Settings:
    """An option wins over the environment, which Settings reads; both are checked there. Empty: not given."""
    try:
        return Settings.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as failure:
        raise click.UsageError("\n".join(_complaint(error) for error in failure.errors())) from None


def _complaint(error: Any) -> str:
    name = str(error["loc"][0])
    return f"--{name.replace('_', '-')} or TRTSERVE_{name.upper()}: {error['msg']}, not {error['input']!r}."
