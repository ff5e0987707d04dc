"""Prometheus metrics of the HTTP connections."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

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
