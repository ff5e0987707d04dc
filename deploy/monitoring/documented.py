"""The table of metrics in docs/operations.md."""

from deploy.monitoring.metrics import METRICS

BEGIN = "<!-- metrics: written by `make generated` from deploy/monitoring/metrics.py -->"
END = "<!-- metrics end -->"


def with_table(page: str) -> str:
    """The page with the present table between its two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}, with the table between them")
    return f"{before}{BEGIN}\n\n{_table()}\n{END}{after}"


def _table() -> str:
    lines = ["| metric | type | labels | |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = " ".join([", ".join(f"`{label}`" for label in metric.labels), "|"]).lstrip()
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} {metric.says} |")
    return "\n".join(lines) + "\n"
