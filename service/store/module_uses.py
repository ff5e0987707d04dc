"""What the store keeps of the engines that a module calls."""

from functools import cached_property

from pydantic import BaseModel, ConfigDict, ValidationError


class Uses(BaseModel):
    """The engines that the graph of a module calls, as its upload found them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: tuple[int, ...] = ()  # of engines that the graph calls by ID
    names: dict[str, int] = {}  # what the names in the graph stood for when it was uploaded

    @cached_property
    def engines(self) -> tuple[int, ...]:
        """The IDs of all, each once, in ascending order."""
        return tuple(sorted({*self.ids, *self.names.values()}))


def read_uses(text: object) -> Uses | None:
    """Those in a row of the store; None if they cannot be read: the next load finds them out again."""
    try:
        return Uses.model_validate_json(text)  # type: ignore[arg-type]  # or it is refused here
    except ValidationError:
        return None
