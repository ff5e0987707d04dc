"""Hands spans to a collector, by OTLP over HTTP or gRPC. Needs the extra trtserve[tracing].

Source: https://opentelemetry.io/docs/specs/otlp/.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from trtserve.telemetry.observed import Observed
from trtserve.telemetry.spans import Spans

logger = logging.getLogger(__name__)

PATH = "/v1/traces"  # of receivers over HTTP
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = "application/x-protobuf"
RETRIED = {429, 502, 503, 504}


class Lost(Exception):
    """The collector did not take the spans. `again`: it may take them later."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class Collector(Protocol):
    def export(self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
        """Blocks. Raises Lost."""

    def close(self) -> None: ...


class Exporting:
    """Makes spans of requests and exports them. Belongs to one thread, but for close()."""

    def __init__(self, spans: Spans, collector: Collector) -> None:
        self._spans = spans
        self._collector = collector

    def send(self, ended: Sequence[Observed]) -> None:
        """Blocks, for a bounded time. Raises Lost."""
        answer = self._collector.export(self._spans.of(ended))
        rejected = answer.partial_success.rejected_spans
        if rejected:
            logger.warning(
                "the collector rejected %d spans: %s", rejected, answer.partial_success.error_message
            )

    def close(self) -> None:
        self._collector.close()


def headers_of(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the collector's operator demands, in the variables that OpenTelemetry gives it."""
    given = environment.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environment.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    pairs = (pair.partition("=") for pair in given.split(",") if "=" in pair)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}


class OverHttp:
    def __init__(self, endpoint: str, timeout_s: float) -> None:
        path = urlsplit(endpoint).path
        self._url = endpoint.rstrip("/") + PATH if path in {"", "/"} else endpoint
        self._client = httpx.Client(timeout=timeout_s, headers={"Content-Type": PROTOBUF, **headers_of()})

    def export(self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
        try:
            answer = self._client.post(self._url, content=request.SerializeToString())
        except httpx.HTTPError as failure:
            raise Lost(str(failure) or type(failure).__name__, again=True) from None
        if not answer.is_success:
            raise Lost(f"it answers {answer.status_code}", again=answer.status_code in RETRIED)
        try:
            return ExportTraceServiceResponse.FromString(answer.content)
        except Exception:  # protobuf's DecodeError: some answer with another type, and have taken them
            return ExportTraceServiceResponse()

    def close(self) -> None:
        self._client.close()


class OverGrpc:
    def __init__(self, endpoint: str, timeout_s: float) -> None:
        import grpc

        self._retried = {
            grpc.StatusCode[name]
            for name in (
                "CANCELLED",
                "DEADLINE_EXCEEDED",
                "ABORTED",
                "OUT_OF_RANGE",
                "UNAVAILABLE",
                "DATA_LOSS",
            )
        }
        self._error = grpc.RpcError
        parts = urlsplit(endpoint)
        if parts.scheme == "https":
            self._channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials())
        else:
            self._channel = grpc.insecure_channel(parts.netloc)
        self._export = self._channel.unary_unary(
            METHOD,
            request_serializer=ExportTraceServiceRequest.SerializeToString,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        self._timeout_s = timeout_s
        self._metadata = tuple(headers_of().items())

    def export(self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
        try:
            answer: ExportTraceServiceResponse = self._export(
                request, timeout=self._timeout_s, metadata=self._metadata
            )
        except self._error as failure:
            code = failure.code()
            raise Lost(f"{code.name}: {failure.details()}", again=code in self._retried) from None
        return answer

    def close(self) -> None:
        self._channel.close()
