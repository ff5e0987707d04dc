"""Options of an upload whose value is a JSON document."""

from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from trtserve.text import shown


@dataclass(frozen=True)
class JsonDocument:
    """What such an option takes, for its errors."""

    option: str
    example: str
    most_characters: int

    def check_length(self, given: str) -> None:
        """Raise the error for a document that is too long."""
        if len(given) > self.most_characters:
            raise self.wrong(given, f"it has {len(given)} characters, and {self.most_characters} are allowed")

    def wrong(self, given: str, why: str) -> PydanticCustomError:
        """The error for a document, which says what is wrong and shows an example."""
        return PydanticCustomError(
            self.option,
            "Input should be a JSON document such as {example}; {given} is not one: {why}",
            {"example": self.example, "given": shown(given), "why": why},
        )
