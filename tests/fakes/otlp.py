"""A collector of traces, over HTTP and gRPC on the loopback interface: it keeps the spans it is sent."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.waiting import HANGS_AFTER_S

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class Receiver:
    """`with` starts and stops it. Its attributes may be set at any time."""

    def __init__(self, *, keeps: bool = True) -> None:
        """Unless it `keeps` them, it counts only the bytes of the spans."""
        self.statuses: list[int] = []  # of HTTP, for the next exports; 200 once there are no more
        self.grpc_errors: list[grpc.StatusCode] = []  # likewise
        self.gate = threading.Event()  # cleared: exports are not answered until it is set
        self.gate.set()
        self.headers: list[dict[str, str]] = []  # of the exports, with names in lower case
        self.paths: list[str] = []
        self.arrived = threading.Semaphore(0)  # one for each export that has arrived
        self.nbytes = 0
        self._keeps = keeps
        self._requests: list[ExportTraceServiceRequest] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        export = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=ExportTraceServiceRequest.FromString,
            response_serializer=ExportTraceServiceResponse.SerializeToString,
        )
        self._grpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Export": export}),)
        )
        self.http_endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.grpc_endpoint = f"http://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.gate.set()
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()

    @property
    def spans(self) -> list[Any]:
        """All spans that were accepted."""
        return [
            span
            for request in list(self._requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, str | int]]:
        return [attributes(each.resource) for request in self._requests for each in request.resource_spans]

    def _came(self, path: str, headers: Mapping[str, str], nbytes: int) -> None:
        self.paths.append(path)
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self.nbytes += nbytes
        self.arrived.release()
        assert self.gate.wait(HANGS_AFTER_S), "the test did not open the gate"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._came(self.path, dict(self.headers), len(body))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                if status == 200 and receiver._keeps:
                    receiver._requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        return Handler

    def _export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        metadata = {name: str(value) for name, value in context.invocation_metadata()}
        self._came(f"/{SERVICE}/Export", metadata, request.ByteSize())
        if self.grpc_errors:
            context.abort(self.grpc_errors.pop(0), "not now")
        if self._keeps:
            self._requests.append(request)
        return ExportTraceServiceResponse()


def attributes(of: Any) -> dict[str, str | int]:
    """Of a span or a resource."""
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in of.attributes
    }
