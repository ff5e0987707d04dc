"""The request on the short way of a connection, as it is observed."""

from trtserve.codec import Body
from trtserve.errors import HTTP_STATUS, Cancelled
from trtserve.http.connection import lines
from trtserve.http.short_heads import KnownHead, route_of
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.observer import Observer

END_OF_HEAD = b"\r\n\r\n"


class ShortObserved:
    """One request at a time. Belongs to the event loop."""

    __slots__ = ("_observer", "_remembered", "request")

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.request: Observed | None = None  # if somebody wants to know of it
        # Otherwise, if somebody wants to know once it fails: its method and target, its body's bytes, and
        # when it came.
        self._remembered: tuple[bytes, int, int] | None = None

    def begin(self, known: KnownHead, data: bytes) -> None:
        """A request has come, whose head is at the start of `data`."""
        self.request = self._observer.begin(known.asked)
        if self.request is not None:
            self.request.asks("POST", *_target_of(data), known.length)
        elif self._observer.remembers:
            self._remembered = data[: data.index(b" ", 5) + 1], known.length, self._observer.clock()

    def fails(self) -> None:
        """The request fails: observe it now, if that was left until then."""
        if self.request is None and self._remembered is not None:
            line, received, began = self._remembered
            self.request = self._observer.fails(began)
            self.request.asks("POST", *_target_of(line), received)
        self._remembered = None

    def end(self, parts: list[Body], failed: tuple[int, str] | None) -> bytes:
        """It ends with this answer, whose first part has the rest of its head; `failed`: its status and kind.
        Return what the answer's headers say of it."""
        request, self.request = self.request, None
        assert request is not None, "somebody wants to know of it"
        told = lines((name.encode(), value.encode()) for name, value in request.headers(failed=bool(failed)))
        head = bytes(parts[0]).index(END_OF_HEAD) + len(END_OF_HEAD)
        status, kind = failed or (200, SUCCESS)
        request.end(status, kind, sum(map(len, parts)) - head)
        return told

    def nobody_waits(self) -> None:
        """The client left before the answer."""
        self.fails()
        request, self.request = self.request, None
        if request is not None:
            request.end(HTTP_STATUS[Cancelled.kind], Cancelled.kind, 0)


def _target_of(line: bytes) -> tuple[str, str]:
    """The target of a request, which begins with "POST ", and its route."""
    target = line[5 : line.index(b" ", 5)].decode("ascii")
    return target, route_of(target)
