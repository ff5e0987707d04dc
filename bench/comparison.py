"""What a benchmark run lost or won compared with the previous one.

A rate depends on the machine and on what else it does, so where both runs measured another server beside
ours, the ratio to that server is compared and the rate is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
NOISE = 0.1  # two runs on one machine may differ by this fraction
OWN = "trtserve"  # our servers' names begin with it
BETTER_HIGHER, BETTER_LOWER = 1, -1


@dataclass(frozen=True)
class Figure:
    value: float
    better: int = BETTER_HIGHER
    of: str = ""  # the rate that this ratio stands for; empty: it is not a ratio to another server


@dataclass(frozen=True)
class Change:
    name: str
    before: float
    now: float
    better: int

    @property
    def loss(self) -> bool:
        return (self.now - self.before) * self.better < 0

    def __str__(self) -> str:
        share = f" ({self.now / self.before - 1:+.0%})" if self.before else ""
        return f"{self.name}: {self.before:,.2f} -> {self.now:,.2f}{share}"


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """The figures in both results that differ by more than noise."""
    old, new = figures(before), figures(now)
    common = [name for name in new if name in old]
    stand_for = {new[name].of for name in common}
    compared = (
        Change(name, old[name].value, new[name].value, new[name].better)
        for name in common
        if name not in stand_for
    )
    return [each for each in compared if abs(each.now - each.before) > NOISE * abs(each.before)]


def report(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """Print each loss, then each gain; return the losses."""
    found = changes(before, now)
    losses = [change for change in found if change.loss]
    gains = [change for change in found if not change.loss]
    for title, some in (("worse", losses), ("better", gains)):
        print(f"\n{len(some)} figures are more than {NOISE:.0%} {title} than in the previous run.")
        for change in some:
            print(f"  {change}")
    return losses


def figures(results: dict[str, Any]) -> dict[str, Figure]:
    """All figures of a run that a later run can be compared with, by name."""
    return dict(_figures(results))


def _figures(results: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    yield from _rates(results.get("frontend", []), ("payload", "concurrency"))
    grpc = results.get("grpc", {})
    yield from _rates(grpc.get("rows", []), ("kind", "payload", "concurrency"))
    yield from _varied(results.get("varied", []))
    for row in results.get("efficiency", []):
        yield f"{row['network']}, share of OpenVINO", Figure(row["efficiency"])
        yield f"{row['network']}, single items, share of OpenVINO", Figure(row["efficiency_of_singles"])
    yield from _latency(results.get("latency", {}))
    yield from _engines(results.get("engines", []))
    memory = results.get("memory", {})
    for name in ("at_rest_mb", "most_after_that_mb"):
        if name in memory:
            yield (
                f"memory {name.removesuffix('_mb').replace('_', ' ')}, MB",
                Figure(memory[name], BETTER_LOWER),
            )


def _rates(rows: list[Row], keys: tuple[str, ...], part: str = "") -> Iterator[tuple[str, Figure]]:
    """The rates of our servers, their ratios to each peer under the same load, and all errors of ours."""
    for ours in rows:
        if not str(ours["server"]).startswith(OWN):
            continue
        load = part + ", ".join(f"c={ours[key]}" if key == "concurrency" else str(ours[key]) for key in keys)
        rate = f"{load}, {ours['server']}, requests/s"
        yield rate, Figure(ours["per_second"])
        yield f"{load}, {ours['server']}, errors", Figure(ours["errors"], BETTER_LOWER)
        for peer in rows:
            beside = all(peer[key] == ours[key] for key in keys)
            if beside and not str(peer["server"]).startswith(OWN) and peer["per_second"]:
                ratio = ours["per_second"] / peer["per_second"]
                yield f"{load}, {ours['server']} / {peer['server']}", Figure(ratio, of=rate)


def _varied(rows: list[Row]) -> Iterator[tuple[str, Figure]]:
    yield from _rates(rows, ("payload", "concurrency", "varies"), "varied, ")
    for row in rows:
        if str(row["server"]).startswith(OWN):
            load = f"{row['payload']}, c={row['concurrency']}, {row['varies']}"
            yield f"varied, {load}, {row['server']}, share of one head", Figure(row["share"])


def _latency(result: Row) -> Iterator[tuple[str, Figure]]:
    """Tails as ratios: a percentile in microseconds depends on the machine and on the rate."""
    for row in result.get("curves", []):
        load = f"open loop, delay {row['delay_us']}, {row['share']:.0%}"
        if row["p50_us"]:
            yield f"{load}, p99 / p50", Figure(row["p99_us"] / row["p50_us"], BETTER_LOWER)
        yield f"{load}, lost and errors", Figure(row["lost"] + row["errors"], BETTER_LOWER)
    pauses = result.get("collections", {})
    if "young_us" in pauses:
        yield "longest pause of a young collection, us", Figure(pauses["young_us"], BETTER_LOWER)


def _engines(rows: list[Row]) -> Iterator[tuple[str, Figure]]:
    """What many engines cost, and their requests as shares of those to a server with one engine."""
    for row in rows:
        count = f"{row['engines']:,} engines"
        for name, shown in (
            ("start_s", "start, s"),
            ("threads", "threads"),
            ("rss_mb", "memory, MB"),
            ("metrics_ms", "/metrics, ms"),
            ("metrics_mb", "/metrics, MB"),
        ):
            yield f"{count}, {shown}", Figure(row[name], BETTER_LOWER)
        for name, shown in (("one_share", "requests to one"), ("rotation_share", "requests to fifty")):
            if name in row:
                yield f"{count}, {shown}, share of one engine", Figure(row[name])
