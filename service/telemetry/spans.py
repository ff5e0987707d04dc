"""Requests as OpenTelemetry's spans, in the messages of OTLP. Needs the extra trtserve[tracing].

The spans are made when their request has ended, of times that were measured anyway: so a request costs the
event loop no more than a note that it is traced. They are written as messages at once, and not first as the
SDK's objects, which takes six times as long.
"""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.version import VERSION

SCOPE = InstrumentationScope(name="trtserve", version=VERSION)
SAMPLED, KNOWN, REMOTE = 1, 0x100, 0x200  # flags of a span: whether its parent is remote is known, and is so
KEPT = 1024  # sets of attributes
IN_A_ROW = 32  # requests whose spans are made before other threads may run: about a millisecond
LEAST_FAULT = 500  # statuses of HTTP from here on are the server's fault
GRPC_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""gRPC's statuses that are the server's fault. Source: OpenTelemetry's semantic conventions for RPC."""

Attributes = Mapping[str, str | int]


def resource_of(server_name: str, environment: Mapping[str, str] = os.environ) -> Resource:
    """Who sends the spans; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have their usual meaning."""
    given = dict(
        pair.split("=", 1)
        for pair in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
        if "=" in pair
    )
    name = environment.get("OTEL_SERVICE_NAME") or given.pop("service.name", "") or server_name
    return Resource(attributes=_attributes({**given, "service.name": name, "service.version": VERSION}))


class Spans:
    """Makes the spans of requests that have ended. Belongs to one thread."""

    def __init__(
        self,
        resource: Resource,
        wall_ns: Callable[[], int] = lambda: time.time_ns() - time.monotonic_ns(),
    ) -> None:
        """`wall_ns`: what the wall clock is ahead of the monotonic one, in nanoseconds."""
        self._resource = resource
        self._wall_ns = wall_ns

    def of(self, ended: Sequence[Observed]) -> ExportTraceServiceRequest:
        """The spans of requests, and those of the executions that they shared with others."""
        ahead = self._wall_ns()
        batches: dict[int, list[Observed]] = {}
        for each in ended:
            batches.setdefault(each.times[0], []).append(each)
        request = ExportTraceServiceRequest()
        told = request.resource_spans.add(resource=self._resource).scope_spans.add(scope=SCOPE)
        spans = told.spans  # spans are made in their place: adding them later would copy each
        made = 0
        for execution, requests in batches.items():
            batch = None
            if execution and requests[0].times[2]:
                batch = _add_execution(spans, requests, ahead)
            for each in requests:
                _add_request(spans, each, batch, ahead)
                made += 1
                if made % IN_A_ROW == 0:
                    time.sleep(0)
        return request


def _add_execution(spans: Any, requests: Sequence[Observed], ahead: int) -> Span:
    """A trace of its own, which links to its requests: it has as many parents as requests."""
    first = requests[0]
    _, _, start, _, _, end = first.times
    engine, version = first.engine or ("", "")
    attributes: dict[str, str | int] = {
        "trtserve.engine": engine,
        "trtserve.engine.version": version,
        "trtserve.batch.requests": first.batch_requests,
    }
    batch: Span = spans.add(
        trace_id=_new(16),
        span_id=_new(8),
        name="batch",
        kind=Span.SPAN_KIND_INTERNAL,
        flags=SAMPLED | KNOWN,
        start_time_unix_nano=start + ahead,
        end_time_unix_nano=(end or first.taken) + ahead,
        attributes=_attributes(attributes),
        links=[
            Span.Link(trace_id=_trace_id(each), span_id=_span_id(each), flags=SAMPLED) for each in requests
        ],
    )
    for call in first.calls:
        _add_call(spans, call, batch, ahead)
    return batch


def _add_call(spans: Any, call: tuple[int, str, int, int, str | None], batch: Span, ahead: int) -> None:
    """An engine that the execution of a module called: a part of that execution, whoever asked for it."""
    engine_id, engine, begin, end, failure = call
    attributes: dict[str, str | int] = {"trtserve.engine": engine, "trtserve.engine.id": str(engine_id)}
    if failure is not None:
        attributes["error.type"] = failure
    span = spans.add(
        trace_id=batch.trace_id,
        span_id=_new(8),
        parent_span_id=batch.span_id,
        name="call",
        kind=Span.SPAN_KIND_INTERNAL,
        flags=SAMPLED | KNOWN,
        start_time_unix_nano=begin + ahead,
        end_time_unix_nano=end + ahead,
        attributes=_attributes(attributes),
    )
    if failure is not None:
        span.status.code, span.status.message = Status.STATUS_CODE_ERROR, failure


def _add_request(spans: Any, one: Observed, batch: Span | None, ahead: int) -> None:
    trace = one.trace
    assert trace is not None, "only traced requests are sent"
    trace_id, span_id = _trace_id(one), _span_id(one)
    own = spans.add(
        trace_id=trace_id,
        span_id=span_id,
        name=one.route.lstrip("/") if one.over_grpc else f"{one.method} {one.route}".rstrip(),
        kind=Span.SPAN_KIND_SERVER,
        flags=SAMPLED | KNOWN,
        start_time_unix_nano=one.began + ahead,
        end_time_unix_nano=one.written + ahead,
        attributes=_attributes(_said_of(one)),
    )
    if one.request_id:
        own.attributes.append(_attribute("trtserve.request_id", one.request_id))
    if trace.parent_id:
        own.parent_span_id = trace.parent_id.to_bytes(8, "big")
        own.flags |= REMOTE
    if trace.state:
        own.trace_state = trace.state.decode("ascii", "replace")
    if _is_fault(one):
        own.status.code, own.status.message = Status.STATUS_CODE_ERROR, one.kind
    for phase, begin, end in one.phases():
        span = spans.add(
            trace_id=trace_id,
            span_id=_new(8),
            parent_span_id=span_id,
            name=phase,
            kind=Span.SPAN_KIND_INTERNAL,
            flags=SAMPLED | KNOWN,
            start_time_unix_nano=begin + ahead,
            end_time_unix_nano=max(begin, end) + ahead,
        )
        if batch is not None and phase == "compute":
            span.links.add(trace_id=batch.trace_id, span_id=batch.span_id, flags=SAMPLED)


def _new(size: int) -> bytes:
    return random.getrandbits(8 * size).to_bytes(size, "big")


def _trace_id(one: Observed) -> bytes:
    assert one.trace is not None, "only traced requests are sent"
    return one.trace.trace_id.to_bytes(16, "big")


def _span_id(one: Observed) -> bytes:
    assert one.trace is not None, "only traced requests are sent"
    return one.trace.span_id.to_bytes(8, "big")


def _is_fault(one: Observed) -> bool:
    if one.kind == SUCCESS:
        return False
    return one.status in GRPC_FAULTS if isinstance(one.status, str) else one.status >= LEAST_FAULT


def _said_of(one: Observed) -> dict[str, str | int]:
    """In OpenTelemetry's words where it has them."""
    said: dict[str, str | int] = {}
    if one.over_grpc:
        service, _, method = one.target.lstrip("/").partition("/")
        said |= {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        said["rpc.response.status_code"] = one.status
    else:
        said |= {"http.request.method": one.method, "url.path": one.target}
        said["http.response.status_code"] = one.status
        if one.route:
            said["http.route"] = one.route
    if one.engine is not None:
        said["trtserve.engine"], said["trtserve.engine.version"] = one.engine
        said["trtserve.engine.id"] = str(one.engine_id)
        said["trtserve.batch.requests"] = one.batch_requests
    if one.kind != SUCCESS:
        said["error.type"] = one.kind
    return said


def _attributes(given: Attributes) -> Sequence[KeyValue]:
    return _kept(tuple(given.items()))


@lru_cache(KEPT)
def _kept(given: tuple[tuple[str, str | int], ...]) -> Sequence[KeyValue]:
    """Most requests of an engine have the same attributes, and a span takes a copy."""
    return [_attribute(name, value) for name, value in given]


def _attribute(name: str, value: str | int) -> KeyValue:
    written = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    return KeyValue(key=name, value=written)
