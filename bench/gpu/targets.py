"""The goals, as shares of the raw loop with the same batch and use of graphs, and what was reached."""

from dataclasses import dataclass
from typing import Any

from bench.gpu import measure
from bench.gpu.measure import Row

MOST_ABOVE_US = 150.0  # of a lone request, above the engine's own time
FAST_BATCHES = (8, 32)  # for the operator: a batch of 1 is the driver's work rather than the GPU's


@dataclass(frozen=True)
class Target:
    what: str
    way: str
    batch: int
    graphs: bool
    wanted: str
    reached: float | None  # a share, or microseconds; None: the way failed
    met: bool

    @property
    def shown(self) -> str:
        if self.reached is None:
            return "failed"
        return f"{self.reached:,.0f} us" if self.wanted.endswith("us") else f"{self.reached:.3f}"


def find(rows: list[Row], way: str, batch: int, graphs: bool) -> Row | None:
    """None if the way failed."""
    wanted = way, batch, graphs
    return next((row for row in rows if (row["way"], row["batch"], row["graphs"]) == wanted), None)


def _bare(rows: list[Row], way: str, batch: int, graphs: bool) -> Row:
    """Of the raw loop, without which there is no report."""
    row = find(rows, way, batch, graphs)
    assert row is not None
    return row


def add_shares(rows: list[Row]) -> None:
    """Add to each row its shares of the raw loops, or how much longer a lone request takes."""
    for row in rows:
        here = row["batch"], row["graphs"]
        if row["way"].endswith("lone"):
            bare = _bare(rows, measure.RAW_LONE, *here)["details"]["p50_us"]
            row["above_us"] = row["details"]["p50_us"] - bare
            continue
        row["share"] = row["items_per_second"] / _bare(rows, measure.RAW, *here)["items_per_second"]
        copying = _bare(rows, measure.RAW_WITH_COPIES, *here)["items_per_second"]
        row["share_with_copies"] = row["items_per_second"] / copying


def judge(rows: list[Row]) -> list[Target]:
    """Every target; `rows` have their shares."""

    def share(what: str, way: str, batch: int, graphs: bool, least: float) -> Target:
        row = find(rows, way, batch, graphs)
        reached = None if row is None else row["share"]
        met = reached is not None and reached >= least
        return Target(what, way, batch, graphs, f">= {least:.2f}", reached, met)

    targets = [share("graphs at batch 1, of a bare replay", measure.OPERATOR, 1, True, 0.95)]
    for graphs in (False, True):
        for batch in FAST_BATCHES:
            targets.append(share("operator", measure.OPERATOR, batch, graphs, 0.97))
        targets.append(share("scheduler, copies overlapped", measure.SCHEDULER, 32, graphs, 0.95))
        targets.append(share("HTTP with shared memory", measure.SHARED_MEMORY, 32, graphs, 0.90))
        row = find(rows, measure.LONE_HTTP, 1, graphs)
        above = None if row is None else row["above_us"]
        met = above is not None and above <= MOST_ABOVE_US
        wanted = f"<= {MOST_ABOVE_US:.0f} us"
        what = "lone request over HTTP, above the engine's own time"
        targets.append(Target(what, measure.LONE_HTTP, 1, graphs, wanted, above, met))
    return targets


def explain(target: Target, rows: list[Row]) -> str:
    """What the profile of a missed target needs: the measured times of the way and of the raw loop."""
    lines = [f"{target.what}, batch {target.batch}, graphs {'on' if target.graphs else 'off'}:"]
    lone = target.way.endswith("lone")
    names = [target.way, measure.RAW_LONE if lone else measure.RAW]
    if target.way not in (measure.OPERATOR, measure.MODULE) and not lone:
        names.append(measure.RAW_WITH_COPIES)
    for name in names:
        row = find(rows, name, target.batch, target.graphs)
        if row is None:
            lines.append(f"  {name}: failed")
            continue
        details: dict[str, Any] = row["details"]
        times = ", ".join(f"{key} {value:,.0f}" for key, value in details.items())
        each = f"{row['batch'] / row['items_per_second'] * 1e6:,.0f} us each; " if not lone else ""
        rounds = row["rounds_items_per_second"]
        spread = "" if lone else f"; rounds {min(rounds):,.0f} to {max(rounds):,.0f} items/s"
        lines.append(f"  {name}: {each}{times}{spread}")
    return "\n".join(lines)
