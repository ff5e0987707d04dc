"""PromQL on metrics of the table; a name, a label or a type that the table lacks is an error."""

from collections.abc import Sequence
from typing import NamedTuple

from deploy.monitoring.metrics import BY_NAME, OF_THE_PROCESS

INSTANCE = 'instance=~"$instance"'
ENGINE = 'engine=~"$engine"'
WINDOW = "[$__rate_interval]"


class Query(NamedTuple):
    expr: str
    legend: str
    """Grafana's template of a series' name."""


def gauge(name: str, *by: str, legend: str | None = None, how: str = "sum", where: str = "") -> Query:
    """The gauge, added up (or as `how` says) by these labels."""
    return Query(_grouped(how, by, _selector(name, {"gauge"}, by, where)), _legend(by, legend))


def rate(name: str, *by: str, legend: str | None = None, where: str = "") -> Query:
    """Events per second of a counter."""
    chosen = _selector(name, {"counter"}, by, where)
    return Query(_grouped("sum", by, f"rate({chosen}{WINDOW})"), _legend(by, legend))


def quantile(share: float, name: str, *by: str) -> Query:
    """A quantile of a histogram's observations; Prometheus guesses between two bounds."""
    buckets = f"rate({_selector(name, {'histogram'}, by, end='_bucket')}{WINDOW})"
    expr = f"histogram_quantile({share}, {_grouped('sum', (*by, 'le'), buckets)})"
    return Query(expr, f"{_legend(by)} p{share * 100:g}")


def mean(name: str, *by: str) -> Query:
    """The mean of a histogram's observations."""
    total, count = (
        _grouped("sum", by, f"rate({_selector(name, {'histogram'}, by, end=end)}{WINDOW})")
        for end in ("_sum", "_count")
    )
    return Query(f"{total} / {count}", _legend(by))


def executions(name: str, *by: str) -> Query:
    """Observations per second of a histogram."""
    chosen = _selector(name, {"histogram"}, by, end="_count")
    return Query(_grouped("sum", by, f"rate({chosen}{WINDOW})"), _legend(by))


def share(part: Query, whole: Query) -> Query:
    """One as a share of the other; both by the same labels."""
    return Query(f"{part.expr} / {whole.expr}", part.legend)


def process(name: str, legend: str, *, is_rate: bool = False) -> Query:
    """A metric of the server's process, by instance."""
    if name not in OF_THE_PROCESS:
        raise KeyError(f"{name} is not among OF_THE_PROCESS in deploy/monitoring/metrics.py: add it there")
    chosen = f'{name}{{job="trtserve", {INSTANCE}}}'
    return Query(f"rate({chosen}{WINDOW})" if is_rate else chosen, legend)


def uptime() -> Query:
    """Seconds since the server's start, by instance."""
    started = process("process_start_time_seconds", "{{instance}}")
    return Query(f"time() - {started.expr}", started.legend)


def _selector(name: str, kinds: set[str], by: Sequence[str], where: str = "", end: str = "") -> str:
    metric = BY_NAME[name]
    if metric.kind not in kinds:
        raise ValueError(f"{name} is a {metric.kind}, not a {' or '.join(kinds)}")
    if unknown := set(by) - {"instance", *metric.labels}:
        raise ValueError(f"{name} has the labels {metric.labels}, not {sorted(unknown)}")
    filters = [INSTANCE, *([ENGINE] if "engine" in metric.labels else []), *([where] if where else [])]
    return f"{name}{end}{{{', '.join(filters)}}}"


def _grouped(how: str, by: Sequence[str], inner: str) -> str:
    return f"{how} by ({', '.join(by)}) ({inner})" if by else f"{how}({inner})"


def _legend(by: Sequence[str], legend: str | None = None) -> str:
    return legend if legend is not None else " ".join(f"{{{{{label}}}}}" for label in by)
