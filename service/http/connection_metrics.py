"""Prometheus metrics of the HTTP connections, and of requests that no token allows."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trtserve.access.guard import REASONS as REFUSALS
from trtserve.access.guard import Guard
from trtserve.http.connection_limits import REASONS, Connections


class ConnectionCollector(Collector):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "trtserve_connections", "Open HTTP connections.", value=len(self._connections)
        )
        ended = CounterMetricFamily(
            "trtserve_connections_ended",
            "HTTP connections that the server ended or refused, by reason.",
            labels=["reason"],
        )
        for reason in REASONS:
            ended.add_metric([reason], self._connections.ended[reason])
        yield ended


class RefusalCollector(Collector):
    def __init__(self, guard: Guard | None) -> None:
        """Without a guard, nothing is refused."""
        self._refused = Counter[str]() if guard is None else guard.refused

    def collect(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "trtserve_requests_refused",
            "Requests over HTTP and gRPC that their token did not allow, or that had none, by reason.",
            labels=["reason"],
        )
        for reason in REFUSALS:
            refused.add_metric([reason], self._refused[reason])
        yield refused
