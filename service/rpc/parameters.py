"""The parameters of a message as JSON would have them."""

from collections.abc import Mapping
from typing import Any


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each by its name; a parameter that has none is left out."""
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in given.items()}
    return {name: getattr(given[name], choice) for name, choice in chosen.items() if choice}
