"""The parameters of a message, as in JSON."""

from collections.abc import Mapping
from typing import Any


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values by name; a parameter without a value is left out."""
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in given.items()}
    return {name: getattr(given[name], choice) for name, choice in chosen.items() if choice}
