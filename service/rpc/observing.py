"""Observes the calls that handlers answer, and the requests of their streams."""

from trtserve.rpc.authorize import HasMetadata
from trtserve.telemetry.asked import REQUEST_ID, asked_in, request_id
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.observer import Observer

METHOD = "gRPC"  # where a request over HTTP has its method


def observe(observer: Observer, context: HasMetadata, path: str, received: int) -> Observed | None:
    """The call, or a request of a stream, whose message has `received` bytes; None: nobody wants to know."""
    observed = observer.begin_with(_headers(context))
    if observed is not None:
        observed.asks(METHOD, path, path, received, over_grpc=True)
    return observed


def echoed(observer: Observer, context: HasMetadata) -> tuple[tuple[str, str], ...]:
    """The trailing metadata of a stream, whose requests each have an end of their own."""
    asked = asked_in(_headers(context), observer.names)
    id = None if asked is None else request_id(asked[REQUEST_ID])
    return () if id is None else (("x-request-id", id),)


def _headers(context: HasMetadata) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("latin-1"), value.encode("latin-1", "replace") if isinstance(value, str) else value)
        for name, value in context.invocation_metadata() or ()
    ]
