"""Prometheus metrics of the access log: how many lines were written, and how many were not."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trtserve.telemetry.access_log import AccessLog


class AccessLogCollector(Collector):
    """Each number is one read, so any thread may collect them."""

    def __init__(self, log: AccessLog | None) -> None:
        """Without a `log`, all are 0."""
        self._log = log

    def collect(self) -> Iterator[Metric]:
        lines = CounterMetricFamily(
            "trtserve_access_log_lines",
            "Lines of the access log: written, or dropped because whoever reads the log was too slow.",
            labels=["outcome"],
        )
        for outcome in ("written", "dropped"):
            lines.add_metric([outcome], 0 if self._log is None else getattr(self._log, outcome))
        yield lines
