"""Prometheus metrics of the process: its versions, its work in progress, and how late its event loop is."""

import asyncio
import importlib.metadata
import platform
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trtserve.services import Services
from trtserve.version import VERSION

EVERY_S = 1.0  # between two looks at the loop's lateness
LAG_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Observes, once a second, how late the event loop calls a callback that is due. Belongs to the loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "trtserve_event_loop_lag_seconds",
            "How late the event loop ran a callback that was due, looked at once a second.",
            buckets=LAG_BOUNDS_S,
            registry=registry,
        )
        self._next: asyncio.TimerHandle | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to observe."""
        self._wait(loop)

    def detach(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + EVERY_S
        self._next = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._seconds.observe(max(0.0, loop.time() - due))
        self._wait(loop)


class ProcessCollector(Collector):
    """Collects numbers of one server. Each is one read, so any thread may collect them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        services = self._services
        build = GaugeMetricFamily(
            "trtserve_build_info", "1; its labels are versions.", labels=["version", "python", "torch"]
        )
        build.add_metric([VERSION, platform.python_version(), importlib.metadata.version("torch")], 1)
        yield build
        yield GaugeMetricFamily(
            "trtserve_requests_in_flight",
            "Inference requests that were accepted and have not ended.",
            value=services.completions.in_flight,
        )
        yield GaugeMetricFamily(
            "trtserve_request_bytes_in_flight",
            "Bytes that the bodies and answers of inference requests hold.",
            value=services.inflight.taken,
        )
        yield GaugeMetricFamily(
            "trtserve_request_bytes_limit",
            "Bytes that they may hold.",
            value=services.settings.max_inflight_bytes,
        )
        uploads = services.registry.uploads
        yield GaugeMetricFamily(
            "trtserve_uploads_in_progress", "Plans and modules that are arriving.", value=uploads.in_progress
        )
        yield CounterMetricFamily(
            "trtserve_upload_received_bytes",
            "Bytes of plans and modules that have arrived.",
            value=uploads.received_bytes,
        )
