"""The batching options of an upload, as text.

Lists are kept as the query gives them, in one canonical form: text that can be compared, stored and shown.
Canonical text can always be read without an error.
"""

import re
from typing import Final

from pydantic_core import PydanticCustomError

from trtserve.settings import MAX_BATCH_SIZE

AUTO: Final = "auto"
NEVER: Final = "never"
"""The delay of engines whose requests are not joined, whatever max_batch_size says."""
LAST_DIM = 63  # a request's tensor has 64 dimensions at most

BATCH_DIM = re.compile(r"(.+):([0-9]{1,2})", re.DOTALL)  # greedy: a tensor's name may have colons of its own


def read_sizes(text: str) -> list[int]:
    """The sizes in canonical text, ascending."""
    return [int(size) for size in text.split(",") if size]


def read_dims(text: str) -> dict[str, int]:
    """The batch dimension of each tensor that canonical text names."""
    return {name: int(dim) for name, _, dim in (part.rpartition(":") for part in text.split(",") if part)}


def canonical_sizes(given: str) -> str:
    """`4,8`: ascending, each once. Raises PydanticCustomError, naming the part that is not a size."""
    sizes = set()
    for part in _parts(given):
        if not re.fullmatch(r"[0-9]{1,5}", part) or not 1 <= int(part) <= MAX_BATCH_SIZE:
            raise PydanticCustomError(
                "batch_sizes",
                "Input should be sizes from 1 to {largest} with commas between them, as 4,8; {part} is not "
                "one",
                {"largest": MAX_BATCH_SIZE, "part": repr(part)},
            )
        sizes.add(int(part))
    return ",".join(map(str, sorted(sizes)))


def canonical_dims(given: str) -> str:
    """`x:1,y:1`: by name, each once. Raises PydanticCustomError, naming the part that is at fault."""
    dims: dict[str, int] = {}
    for part in _parts(given):
        found = BATCH_DIM.fullmatch(part)
        if found is None or int(found[2]) > LAST_DIM:
            raise PydanticCustomError(
                "batch_dims",
                "Input should be tensors with their batch dimension, 0 to {last}, and commas between them, "
                "as x:1,y:1; {part} is not one",
                {"last": LAST_DIM, "part": repr(part)},
            )
        if found[1] in dims:
            raise PydanticCustomError(
                "batch_dims",
                "Input should name each tensor once; {name} came twice",
                {"name": repr(found[1])},
            )
        dims[found[1]] = int(found[2])
    return ",".join(f"{name}:{dim}" for name, dim in sorted(dims.items()))


def _parts(given: str) -> list[str]:
    return [part.strip() for part in given.split(",")] if given.strip() else []
