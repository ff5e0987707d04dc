"""The section of docs/performance.md about GPUs, written from the results of one run."""

from pathlib import Path
from typing import Any

from bench import report

CHART = "![Share of the raw loop by way and batch, CUDA graphs off and on](performance-gpu.svg)"
BEGIN = "<!-- python -m bench.gpu writes this part -->"
END = "<!-- the end of what python -m bench.gpu writes -->"


def written(results: dict[str, Any]) -> str:
    """Everything between the marks."""
    facts = "; ".join(f"{name} {value}" for name, value in results["machine"].items())
    missed = [target for target in results["targets"] if not target["met"]]
    goals = f"{len(results['targets']) - len(missed)} of {len(results['targets'])} goals were met."
    parts = [
        "**These times are of the tests' fakes and mean nothing.**" if results["toy"] else "",
        f"Measured in one run: {facts}. Medians of {results['rounds']} interleaved rounds; each load ran for "
        f"{results['seconds']:g} s, over HTTP on {results['connections']} connections. The answers of all "
        f"ways differ from the raw loop's by at most {results['greatest_difference']:.2%} of its largest "
        "value.",
        CHART,
        _failures(results["failures"]),
        report.gpu_throughput(results["rows"]),
        report.gpu_lone(results["rows"]),
        report.gpu_targets(results["targets"]),
        goals,
    ]
    if missed:
        missing = "\n\n".join(results["profiles"])
        parts.append(f"Profiles of the missed ones (microseconds for each request):\n\n```\n{missing}\n```")
    return "\n\n".join(filter(None, parts)) + "\n"


def _failures(failures: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"- **Failed:** {failure['way']}, batch {failure['batch']}, graphs "
        f"{'on' if failure['graphs'] else 'off'}: {failure['why']}"
        for failure in failures
    )


def replace(page: Path, text: str) -> None:
    """Put the text between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
