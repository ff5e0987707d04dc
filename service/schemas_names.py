"""What names and their versions look like as JSON."""

from typing import Self

from pydantic import BaseModel, Field

from service.engine import Resolved, State


class VersionModel(BaseModel):
    version: int
    id: int = Field(description="The engine that the version points to.")
    state: State
    reason: str | None = Field(description="Why it is FAILED.")


class NameModel(BaseModel):
    """A name: what its versions are, and which of them answers to it."""

    name: str
    current: int
    versions: list[VersionModel]

    @classmethod
    def of(cls, name: str, current: int, versions: list[Resolved]) -> Self:
        """`versions` are all that the name has."""
        models = [
            VersionModel(version=version, id=engine.id, state=engine.state, reason=engine.reason)
            for engine, _, version in versions
            if version is not None
        ]
        return cls(name=name, current=current, versions=models)


class NameList(BaseModel):
    names: list[NameModel]


class PointModel(BaseModel):
    current: int = Field(ge=1, description="A version that the name has.", strict=True)
