"""The option warm_up of an upload, as text: `auto`, `off`, or the inputs of executions."""

import re
from typing import Final

from pydantic_core import PydanticCustomError

from trtserve.text import shown

AUTO: Final = "auto"
OFF: Final = "off"
MOST_EXECUTIONS = 64
INPUT = re.compile(r"([^;]+?):([0-9]{1,9}(?:x[0-9]{1,9}){0,63})(?:,|;|$)", re.DOTALL)
EXAMPLE = "x:1x3x224x224;x:8x3x224x224"

Shapes = dict[str, list[int]]
"""Of one execution: the shape of each input that is named."""


def canonical_warm_up(given: str) -> str:
    """The canonical text of executions: inputs by name, numbers without zeros in front.

    Raises PydanticCustomError, which says what is wrong and shows an example.
    """
    if given in {AUTO, OFF}:
        return given
    return ";".join(
        ",".join(f"{name}:{'x'.join(map(str, shapes[name]))}" for name in sorted(shapes))
        for shapes in read_shapes(given)
    )


def read_shapes(given: str) -> list[Shapes]:
    """The shapes of each execution. Raises PydanticCustomError, which says what is wrong."""
    executions = [_read_one(part, given) for part in given.split(";")]
    if len(executions) > MOST_EXECUTIONS:
        raise _wrong(given, f"it has {len(executions)} executions, and {MOST_EXECUTIONS} are allowed")
    return executions


def _read_one(text: str, given: str) -> Shapes:
    shapes: Shapes = {}
    position = 0
    while position < len(text) or not shapes:
        found = INPUT.match(text, position)
        if found is None:
            raise _wrong(given, "it is not an input's name, a colon, and a shape")
        if text.endswith(",") and found.end() == len(text):
            raise _wrong(given, "it ends with a comma")
        name, shape = found.groups()
        if name in shapes:
            raise _wrong(given, f"it has the input {shown(name)} twice in an execution")
        shapes[name] = [int(dim) for dim in shape.split("x")]
        position = found.end()
    return shapes


def _wrong(given: str, why: str) -> PydanticCustomError:
    return PydanticCustomError(
        "warm_up",
        "Input should be 'auto', 'off', or shapes of inputs as {example}; {given} cannot be read: {why}",
        {"example": EXAMPLE, "given": shown(given), "why": why},
    )
