"""Draws what was measured: throughput over the 99th percentile of latency, a curve for each setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtserve.errors import InvalidInput, Unsupported
from trtserve.tune.report import Row
from trtserve.tune.target import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png")
NAMED = 6  # settings with a colour and a name: those with the most throughput
SIZE = (9.0, 5.5)  # inches
FAINT = "0.82"


def check_plot(path: Path) -> None:
    """Raise InvalidInput or Unsupported if the curves could not be drawn there: now, not at the end."""
    if path.suffix not in FORMATS:
        raise InvalidInput(f"A plot is written as {' or '.join(FORMATS)}, not as {path.name}.")
    if not path.parent.is_dir():
        raise InvalidInput(f"There is no folder {path.parent} to write the plot to.")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise Unsupported(
            "A plot needs matplotlib, which is not installed: pip install 'trtserve[plot]'."
        ) from None


def plot(path: Path, title: str, rows: Sequence[Row], chosen: Row | None, latency_ms: float) -> None:
    """Write the curves to a .svg or .png file. Raises OSError if it cannot be written."""
    from matplotlib.figure import Figure  # without pyplot, which looks for a screen

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    _curves(axes, rows)
    axes.axvline(latency_ms, color="0.5", linestyle="--", linewidth=1, label=f"bound: {latency_ms:g} ms")
    if chosen is not None:
        axes.plot(
            chosen.sample.p99_ms,
            chosen.sample.throughput,
            marker="*",
            markersize=12,
            color="black",
            linestyle="none",
            label=f"best: concurrency {chosen.concurrency}",
        )
    axes.set(xscale="log", xlabel="p99 latency (ms)", ylabel="items per second", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _curves(axes: "Axes", rows: Sequence[Row]) -> None:
    curves: dict[Setting, list[Row]] = {}
    for row in rows:
        curves.setdefault(row.setting, []).append(row)
    fastest = sorted(curves, key=lambda s: max(row.sample.throughput for row in curves[s]), reverse=True)
    for place, setting in enumerate(fastest):
        points = sorted(curves[setting], key=lambda row: row.concurrency)
        axes.plot(
            [row.sample.p99_ms for row in points],
            [row.sample.throughput for row in points],
            marker="o",
            markersize=4,
            color=f"C{place}" if place < NAMED else FAINT,
            label=_named(setting) if place < NAMED else None,
            zorder=2 if place < NAMED else 1,
        )


def _named(setting: Setting) -> str:
    delay = setting.max_queue_delay_us
    waits = f", delay {delay}{' µs' * isinstance(delay, int)}" if setting.max_batch_size > 1 else ""
    return f"{setting.instances} × batch {setting.max_batch_size}{waits}"
