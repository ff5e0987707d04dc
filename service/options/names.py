"""The rule for names of engines."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

NAME = "[A-Za-z_][A-Za-z0-9_.-]{0,127}"  # never all digits, so never taken for an engine ID
NAME_RULE = "a letter or _, then letters, digits, _, . and -, 128 at most"


def is_name(given: str) -> bool:
    """True if an engine can have this name."""
    return re.fullmatch(NAME, given) is not None


def _name(given: str) -> str:
    if not is_name(given):
        raise PydanticCustomError("name", "Input should be {rule}", {"rule": NAME_RULE})
    return given


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
