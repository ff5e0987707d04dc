"""Draws the dashboard's panels as Grafana would show them, from the same queries."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from deploy.monitoring.panels import ROWS, Panel

ACROSS = 4  # panels beside each other
Points = Sequence[tuple[float, float]]  # seconds since the start, value
Ask = Callable[[str], Sequence[tuple[Mapping[str, str], Points]]]
"""The series of an expression over the time that is drawn."""

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"))
UNITS = {
    "s": "s",
    "bytes": "B",
    "reqps": "/s",
    "ops": "/s",
    "short": "",
    "Bps": "B/s",
    "celsius": "°C",
    "watt": "W",
}


def draw(ask: Ask, window: str, path: Path) -> None:
    """Draw every panel; `window` is what its rates are taken over."""
    import matplotlib as mpl  # late: the generator and the tests of queries do without it
    import matplotlib.pyplot as plt

    # Text stays text, and the same data makes the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "trtserve", "font.size": 7})
    heights = [-(-len(row.panels) // ACROSS) for row in ROWS]
    figure = plt.figure(figsize=(4 * ACROSS, 2.0 * sum(heights) + 0.3 * len(ROWS)), layout="constrained")
    parts: Any = figure.subfigures(len(ROWS), 1, height_ratios=[height + 0.15 for height in heights])
    for row, height, part in zip(ROWS, heights, parts, strict=True):
        part.suptitle(row.title, x=0.01, ha="left", fontweight="bold", fontsize=9)
        plots = part.subplots(height, ACROSS, squeeze=False).ravel()
        for plot in plots[len(row.panels) :]:
            plot.set_visible(False)
        for panel, plot in zip(row.panels, plots, strict=False):
            _draw(panel, plot, ask, window)
    drawn = StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    plt.close(figure)
    # A tenth of a point is enough, and makes half of the file.
    path.write_text(re.sub(r"(\d+\.\d)\d+", r"\1", drawn.getvalue()))


def _draw(panel: Panel, plot: Any, ask: Ask, window: str) -> None:
    for query in panel.queries:
        for labels, points in ask(query.filled_in(window)):
            plot.plot(*zip(*points, strict=True), label=query.named(labels), linewidth=1)
    plot.locator_params(nbins=4)
    plot.set_title(panel.title, loc="left", fontsize=8)
    plot.yaxis.set_major_formatter(lambda value, _: _shown(value, panel.unit))
    plot.set_ylim(bottom=0, top=None if plot.dataLim.y1 > 0 else 1)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=5.5, loc="upper left", bbox_to_anchor=(1, 1.05), frameon=False)


def _shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.0%}"
    size = next((found for found in PREFIXES if abs(value) >= found[0]), (1, ""))
    return f"{value / size[0]:g}{size[1]}{UNITS[unit]}" if math.isfinite(value) else ""
