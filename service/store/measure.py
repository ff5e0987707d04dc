"""What the store keeps of an engine's memory, so that a start reserves what the engine needs."""

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

LIKE = 16  # two measures are alike if no device differs by more than 1 / LIKE


class Measure(BaseModel):
    """What an engine took when it was measured last, and what its last load for a request cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: dict[str, dict[str, NonNegativeInt]]  # bytes, by device and kind
    cold_start_seconds: NonNegativeFloat | None = None

    @property
    def total(self) -> dict[str, int]:
        """Bytes by device."""
        return {device: sum(kinds.values()) for device, kinds in self.memory.items()}

    def is_like(self, other: "Measure | None") -> bool:
        """True if a start needs only one of both: every change of the store writes all its rows."""
        if other is None or self.total.keys() != other.total.keys():
            return False
        if (self.cold_start_seconds is None) != (other.cold_start_seconds is None):
            return False
        pairs = [(size, other.total[device]) for device, size in self.total.items()]
        return all(abs(one - two) * LIKE <= max(one, two) for one, two in pairs)


def read_measure(text: object) -> Measure | None:
    """The measure in a row of the store; None where there is none that can be read: the next load has one."""
    try:
        return Measure.model_validate_json(text)  # type: ignore[arg-type]  # or it is refused here
    except ValidationError:
        return None
