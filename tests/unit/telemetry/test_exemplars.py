"""The last traced request of each bucket."""

from typing import Any

from trtserve.telemetry.exemplars import MOST_ENGINES, Exemplar, Exemplars
from trtserve.telemetry.observed import SUCCESS
from trtserve.telemetry.sampling import Trace

MS = 1_000_000  # ns


class Ended:
    """What is read of a request that has ended."""

    def __init__(
        self,
        ms: int,
        trace_id: int | None = 1,
        engine_id: int = 7,
        kind: str = SUCCESS,
        *,
        name: str = "net",
    ) -> None:
        self.times = (1, MS, MS, MS, MS, MS + ms * MS)
        self.trace = None if trace_id is None else Trace(trace_id, 1, 0, None)
        self.engine_id, self.engine = engine_id, (name, "1")
        self.kind = kind


def exemplars(*ended: Any) -> Exemplars:
    kept = Exemplars(lambda: [0.001, 0.01], lambda: 5.0)
    for each in ended:
        kept.ended(each)
    return kept


def test_each_bucket_has_its_last() -> None:
    kept = exemplars(Ended(1, 1), Ended(2, 2), Ended(10, 3), Ended(11, 4))
    assert kept.of(7, "net") == {
        0: Exemplar(1, 0.001, 5.0),
        1: Exemplar(3, 0.01, 5.0),
        2: Exemplar(4, 0.011, 5.0),
    }


def test_only_traced_requests_that_went_well_count() -> None:
    assert exemplars(Ended(1, None), Ended(1, kind="Cancelled")).of(7, "net") == {}


def test_engines_have_their_own_and_are_bounded() -> None:
    kept = exemplars(*(Ended(1, 1, engine) for engine in range(MOST_ENGINES)))
    kept.ended(Ended(1, 1, 0))  # type: ignore[arg-type]
    kept.ended(Ended(1, 1, MOST_ENGINES))  # type: ignore[arg-type]
    assert kept.of(0, "net")
    assert not kept.of(1, "net")
    assert kept.of(MOST_ENGINES, "net")


def test_each_name_of_an_engine_has_its_own() -> None:
    kept = exemplars(Ended(1, 1), Ended(1, 2, name="other"))
    found = [kept.of(7, name)[0].trace_id for name in ("net", "other")]
    assert found == [1, 2]
