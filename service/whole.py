"""Whole numbers in JSON, which has one kind of number: some clients write 1 as 1.0."""

MOST_EXACT = 2**53
"""Up to here a float is the number that its writer meant; beyond, several are the same float."""


def whole(value: object) -> int | None:
    """The whole number that a value is, also as a float up to MOST_EXACT; None: it is none (true is none)."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= MOST_EXACT:
        return int(value)
    return None
