"""Requests as OpenTelemetry's spans, and their export by OTLP. Needs the extra trtserve[tracing].

The spans are made when their request has ended, with the times that were measured anyway, and not by a tracer
while it runs: so a request costs the event loop no more than a note that it is traced.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.version import VERSION

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SCOPE = InstrumentationScope("trtserve", VERSION)
LEAST_FAULT = 500  # statuses of HTTP from here on are the server's fault
GRPC_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""gRPC's statuses that are the server's fault. Source: OpenTelemetry's semantic conventions for RPC."""


class Spans:
    """Makes spans and exports them. Belongs to one thread, except close()."""

    def __init__(
        self,
        endpoint: str,
        protocol: str,
        server_name: str,
        timeout_s: float,
        wall_ns: Callable[[], int] = lambda: time.time_ns() - time.monotonic_ns(),
    ) -> None:
        """`protocol`: http or grpc; `wall_ns`: what the wall clock is ahead of the monotonic one."""
        self._exporter = _exporter(endpoint, protocol, timeout_s)
        name = os.environ.get("OTEL_SERVICE_NAME") or server_name
        self._resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: VERSION})
        self._wall_ns = wall_ns

    def send(self, ended: Sequence[Observed]) -> bool:
        spans = [*self._of_batches(ended)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()

    def _of_batches(self, ended: Sequence[Observed]) -> Iterator[ReadableSpan]:
        """The spans of requests, and those of the executions that they shared with others."""
        ahead = self._wall_ns()
        batches: dict[int, list[Observed]] = {}
        for each in ended:
            batches.setdefault(each.times[0], []).append(each)
        for execution, requests in batches.items():
            batch = None
            if execution and requests[0].times[2]:
                batch = _context(random.getrandbits(128) or 1)
                yield self._of_execution(batch, requests, ahead)
            for each in requests:
                yield from self._of_request(each, batch, ahead)

    def _of_execution(self, batch: SpanContext, requests: Sequence[Observed], ahead: int) -> ReadableSpan:
        """A trace of its own, which links to its requests: it has as many parents as requests."""
        first = requests[0]
        _, _, start, _, _, end = first.times
        links = [Link(_own(each)) for each in requests]
        engine, version = first.engine or ("", "")
        attributes: dict[str, str | int] = {
            "trtserve.engine": engine,
            "trtserve.engine.version": version,
            "trtserve.batch.requests": first.batch_requests,
        }
        return self._span(
            "batch", batch, None, (start + ahead, (end or first.taken) + ahead), attributes, links=links
        )

    def _of_request(self, one: Observed, batch: SpanContext | None, ahead: int) -> Iterator[ReadableSpan]:
        trace = one.trace
        assert trace is not None, "only traced requests are sent"
        own = _own(one)
        parent = _context(trace.trace_id, trace.parent_id, remote=True) if trace.parent_id else None
        name = one.route.lstrip("/") if one.over_grpc else f"{one.method} {one.route}".rstrip()
        status = Status(StatusCode.ERROR, one.kind) if _is_fault(one) else Status()
        whole = one.began + ahead, one.written + ahead
        yield self._span(name, own, parent, whole, _attributes(one), kind=SpanKind.SERVER, status=status)
        for phase, begin, end in one.phases():
            links = [Link(batch)] if batch is not None and phase == "compute" else []
            inner = _context(trace.trace_id)
            yield self._span(phase, inner, own, (begin + ahead, max(begin, end) + ahead), links=links)

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: Mapping[str, str | int] | None = None,
        *,
        links: Sequence[Link] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        status: Status = Status(),  # noqa: B008 - it is immutable
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            links=links,
            kind=kind,
            status=status,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=SCOPE,
        )


def _exporter(endpoint: str, protocol: str, timeout_s: float) -> SpanExporter:
    """OpenTelemetry's own, which also reads OTEL_EXPORTER_OTLP_* (headers, certificates, compression)."""
    if protocol == "http":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp(endpoint, timeout=timeout_s)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

    return OverGrpc(endpoint, insecure=endpoint.startswith("http://"), timeout=timeout_s)


def _context(trace_id: int, span_id: int = 0, *, remote: bool = False) -> SpanContext:
    """Without a span ID, a new one."""
    return SpanContext(trace_id, span_id or random.getrandbits(64) or 1, remote, SAMPLED)


def _own(one: Observed) -> SpanContext:
    """The context of a request's own span, with what its caller keeps in the trace's state."""
    trace = one.trace
    assert trace is not None, "only traced requests are sent"
    state = TraceState.from_header([trace.state.decode("latin-1")]) if trace.state else None
    return SpanContext(trace.trace_id, trace.span_id, False, SAMPLED, state)


def _is_fault(one: Observed) -> bool:
    if one.kind == SUCCESS:
        return False
    return one.status in GRPC_FAULTS if isinstance(one.status, str) else one.status >= LEAST_FAULT


def _attributes(one: Observed) -> dict[str, str | int]:
    """In OpenTelemetry's words where it has them."""
    attributes: dict[str, str | int] = {}
    if one.over_grpc:
        service, _, method = one.target.lstrip("/").partition("/")
        attributes |= {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        attributes["rpc.grpc.status"] = one.status
    else:
        attributes |= {"http.request.method": one.method, "url.path": one.target}
        attributes["http.response.status_code"] = one.status
        if one.route:
            attributes["http.route"] = one.route
    if one.engine is not None:
        attributes["trtserve.engine"], attributes["trtserve.engine.version"] = one.engine
        attributes["trtserve.engine.id"] = str(one.engine_id)
        attributes["trtserve.batch.requests"] = one.batch_requests
    if one.request_id:
        attributes["trtserve.request_id"] = one.request_id
    if one.kind != SUCCESS:
        attributes["error.type"] = one.kind
    return attributes
