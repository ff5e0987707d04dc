"""The GPU benchmark's medians, shares, goals and failures, from times that the tests make up."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gpu import WayFailed, measure, section, targets
from bench.gpu.measure import Failures, Row, Way

X = np.zeros((32, 4), np.float32)
NAMES = [
    measure.RAW,
    measure.RAW_WITH_COPIES,
    measure.OPERATOR,
    measure.MODULE,
    measure.SCHEDULER,
    measure.HTTP,
    measure.SHARED_MEMORY,
    measure.RAW_LONE,
    measure.LONE_HTTP,
    measure.LONE_SHARED_MEMORY,
]
PERFECT = {"per_second": 100.0, "p50_us": 500.0, "p99_us": 600.0}


def giving(**sample: float) -> Way:
    return lambda x, graphs, seconds: dict(sample)


def measured(failed: Failures | None = None, **changed: Way) -> list[Row]:
    ways = {name: giving(**PERFECT) for name in NAMES} | changed
    rows = measure.measure(ways, X, {} if failed is None else failed, rounds=1, seconds=0.0)
    targets.add_shares(rows)
    return rows


def judged(rows: list[Row], way: str) -> list[targets.Target]:
    return [target for target in targets.judge(rows) if target.way == way]


def test_rows_hold_the_medians_of_the_rounds() -> None:
    calls = count()  # six in each round

    def raw(x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
        return {"per_second": 1.0, "host_us": [10.0, 30.0, 20.0][next(calls) // 6]}

    rows = measure.measure({measure.RAW: raw}, X, {}, rounds=3, seconds=0.0)
    assert [(row["batch"], row["graphs"]) for row in rows] == [
        (batch, graphs) for graphs in (False, True) for batch in (1, 8, 32)
    ]
    assert [row["items_per_second"] for row in rows] == [1, 8, 32] * 2
    assert [row["details"]["host_us"] for row in rows] == [20] * 6


def test_every_round_begins_with_another_way() -> None:
    order: list[str] = []

    def named(name: str) -> Way:
        def way(x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
            if (len(x), graphs) == (1, False):
                order.append(name)
            return {"per_second": 1.0}

        return way

    measure.measure({name: named(name) for name in "abc"}, X, {}, rounds=3, seconds=0.0)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_goals_that_are_reached_are_met() -> None:
    rows = measured()
    assert all(target.met for target in targets.judge(rows))


@pytest.mark.parametrize(
    ("way", "per_second", "met"),
    [
        (measure.OPERATOR, 97.0, True),
        (measure.OPERATOR, 96.9, False),
        (measure.SCHEDULER, 95.0, True),
        (measure.SCHEDULER, 94.9, False),
        (measure.SHARED_MEMORY, 90.0, True),
        (measure.SHARED_MEMORY, 89.9, False),
    ],
)
def test_a_share_of_the_raw_loop_decides(way: str, per_second: float, met: bool) -> None:
    rows = measured(**{way: giving(**PERFECT | {"per_second": per_second})})
    shares = [target for target in judged(rows, way) if target.batch > 1]
    assert shares
    assert {target.met for target in shares} == {met}


@pytest.mark.parametrize(("p50_us", "met"), [(650.0, True), (651.0, False)])
def test_a_lone_request_is_compared_with_a_lone_execution(p50_us: float, met: bool) -> None:
    rows = measured(**{measure.LONE_HTTP: giving(p50_us=p50_us, p99_us=p50_us)})
    assert [target.met for target in judged(rows, measure.LONE_HTTP)] == [met, met]
    assert judged(rows, measure.LONE_HTTP)[0].shown == f"{p50_us - 500:.0f} us"


def failing_at_8(x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
    if len(x) == 8:
        raise WayFailed("no answer")
    return dict(PERFECT)


def test_a_way_that_fails_is_named_and_the_rest_is_measured() -> None:
    failed: Failures = {}
    rows = measured(failed, **{measure.OPERATOR: failing_at_8})
    assert failed == {(measure.OPERATOR, 8, graphs): "no answer" for graphs in (False, True)}
    assert {row["batch"] for row in rows if row["way"] == measure.OPERATOR} == {1, 32}
    at_8 = [target for target in judged(rows, measure.OPERATOR) if target.batch == 8]
    assert [(target.shown, target.met) for target in at_8] == [("failed", False)] * 2
    assert f"{measure.OPERATOR}: failed" in targets.explain(at_8[0], rows)


class Raw:
    def answer(self, x: np.ndarray, graphs: bool) -> np.ndarray:
        return np.full(len(x), 2.0, np.float32)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda x, graphs: np.full(len(x), 2.1, np.float32), "differs from the raw loop's by 5.0%"),
        (lambda x, graphs: np.full(len(x) + 1, 2.0, np.float32), "not only numbers"),
        (lambda x, graphs: np.full(len(x), np.nan, np.float32), "not only numbers"),
    ],
)
def test_a_way_with_a_wrong_answer_is_not_measured(wrong: Callable[..., np.ndarray], why: str) -> None:
    failed: Failures = {}
    raw: Any = Raw()
    answers = {measure.OPERATOR: wrong, measure.HTTP: lambda x, graphs: np.full(len(x), 2.0, np.float32)}
    assert measure.check_answers(raw, answers, X, failed) == 0
    assert {way for way, _, _ in failed} == {measure.OPERATOR}
    assert all(why in reason for reason in failed.values())
    rows = measured(failed)
    assert not [row for row in rows if row["way"] == measure.OPERATOR]


def test_a_page_keeps_all_but_its_generated_part(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{section.BEGIN}\nold\n{section.END}\nafter\n")
    section.replace(page, "new\n")
    section.replace(page, "newer\n")
    assert page.read_text() == f"before\n{section.BEGIN}\n\nnewer\n\n{section.END}\nafter\n"


def test_the_documentation_has_the_generated_part_once() -> None:
    text = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    assert (text.count(section.BEGIN), text.count(section.END)) == (1, 1)
