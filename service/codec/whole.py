"""Whole numbers in JSON, which has one kind of number: some clients write 1 as 1.0."""

MOST_EXACT = 2**53
"""Up to here a float is exactly the number that was written; beyond, several numbers share a float."""


def whole(value: object) -> int | None:
    """The value as an int, also from a float up to MOST_EXACT; None if it is a bool or not a whole number."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= MOST_EXACT:
        return int(value)
    return None
