"""What may be the name of an engine."""

import re

NAME = "[A-Za-z_][A-Za-z0-9_.-]{0,127}"  # never all digits, so never taken for an engine ID
NAME_RULE = "a letter or _, then letters, digits, _, . and -, 128 at most"


def is_name(given: str) -> bool:
    """Whether an engine can have it as its name."""
    return re.fullmatch(NAME, given) is not None
