"""What became of a model of a folder when it was taken last, and how that is told."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runtime_ext import Error
from trtserve.errors import TrtserveError
from trtserve.folder.files import Slow
from trtserve.folder.layout import FoundModel
from trtserve.folder.model_config import NotServed
from trtserve.text import table

Failure = TrtserveError | Error

COLUMNS = ("model", "versions", "served", "what is not as its config or folder asks")
NOT_LOADED = "not loaded"


@dataclass
class Outcome:
    found: FoundModel  # as it was then
    ignored: Sequence[str] = ()  # what its config asks for, and changes no answer
    failures: list[Failure] = field(default_factory=list)  # why not all of it is as the folder has it
    failed: dict[int, Failure] = field(default_factory=dict)  # those of them that are of one version

    def is_behind(self, found: FoundModel) -> bool:
        """True if the folder has changed since, or another attempt may do better: something was short."""
        passes = any(getattr(failure, "retry_after", None) is not None for failure in self.failures)
        return passes or found.stamp != self.found.stamp

    @property
    def is_slow(self) -> bool:
        """True if something of it could not be read in time."""
        return any(isinstance(failure, Slow) for failure in self.failures)

    @property
    def told(self) -> list[str]:
        """Everything that is not as the folder has it, a line each."""
        lines = [line for failure in self.failures for line in _lines(failure)]
        return [*lines, *([f"ignored: {', '.join(self.ignored)}"] if self.ignored else [])]

    def missing(self, found: FoundModel, has: set[int]) -> Iterator[tuple[str, str]]:
        """The versions of the folder that are not served, with the reason; a model without any is one."""
        whole = [line for failure in self.failures for line in _lines(failure)]
        if not found.versions and not has:
            yield "", " ".join(whole) or NOT_LOADED
        for version in sorted(found.versions.keys() - has):
            if version in self.failed:
                yield str(version), " ".join(_lines(self.failed[version]))
            elif not has:
                yield str(version), " ".join(whole) or NOT_LOADED


def _lines(failure: Failure) -> Sequence[str]:
    return failure.reasons if isinstance(failure, NotServed) else [str(failure)]


def told_as_table(outcomes: Iterable[Outcome], served: Mapping[str, Sequence[int]]) -> list[str]:
    """The lines of a table, a line for each model and each thing; empty without models.

    `served`: the versions that are, by model.
    """
    rows: list[list[str]] = []
    for outcome in outcomes:
        name = outcome.found.name
        versions = ", ".join(map(str, served.get(name, ())))
        first, *more = outcome.told or [""]
        rows.append([name, versions or "-", "yes" if versions else "no", first])
        rows += (["", "", "", line] for line in more)
    return table(COLUMNS, rows) if rows else []
