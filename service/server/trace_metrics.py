"""Prometheus metrics of the traces: how many requests were sent to the collector, and how many were not."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trtserve.telemetry.tracing import Tracing


class TraceCollector(Collector):
    """Each number is one read, so any thread may collect them."""

    def __init__(self, tracing: Tracing | None) -> None:
        """Without `tracing`, all are 0."""
        self._tracing = tracing

    def collect(self) -> Iterator[Metric]:
        traced = CounterMetricFamily(
            "trtserve_requests_traced",
            "Traced requests by what became of their spans: sent, lost at the collector, dropped before.",
            labels=["outcome"],
        )
        for outcome in ("sent", "lost", "dropped"):
            traced.add_metric([outcome], 0 if self._tracing is None else getattr(self._tracing, outcome))
        yield traced
