"""What the store keeps of an engine's check for batches, so that a start need not repeat it."""

from pydantic import BaseModel, ConfigDict, ValidationError


class BatchVerdict(BaseModel):
    """Whether the requests of an engine may be joined, as a check found out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    why: str  # requests must not be joined, without a full stop; empty: they may be
    basis: str  # what it depends on, as text: it holds for nothing else


def read_verdict(text: object) -> BatchVerdict | None:
    """The verdict in a row of the store; None where there is none that can be read: the check is repeated."""
    try:
        return BatchVerdict.model_validate_json(text)  # type: ignore[arg-type]  # or it is refused here
    except ValidationError:
        return None
