"""One request that somebody wants to know about: what it was, what became of it, and when."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trtserve.telemetry.sampling import Trace

if TYPE_CHECKING:
    from runtime_ext import Completion

SUCCESS = "Success"
NOT_RUN = (0, 0, 0, 0, 0, 0)


class Served(Protocol):
    """What a request asked for; an inference.Call is one."""

    @property
    def engine_id(self) -> int: ...
    @property
    def served_as(self) -> tuple[str, str]:
        """The engine's name, and its version, as the answer has them."""


class Phase(NamedTuple):
    """A part of a request's time, in nanoseconds by the monotonic clock."""

    name: str
    begin: int
    end: int


class Observed:
    """Belongs to the event loop until end(); from then on nothing in it changes.

    It keeps neither the body nor outputs: many may wait to be exported.
    """

    __slots__ = (
        "_clock",
        "_ended",
        "_new_id",
        "batch_requests",
        "began",
        "calls",
        "drawn",
        "engine",
        "engine_id",
        "kind",
        "method",
        "over_grpc",
        "received",
        "request_id",
        "route",
        "sent",
        "status",
        "taken",
        "target",
        "tells_id",
        "tells_times",
        "times",
        "trace",
        "written",
    )

    def __init__(
        self,
        clock: Callable[[], int],
        ended: Callable[["Observed"], None],
        request_id: str,
        *,
        trace: Trace | None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """`new_id`: for a request that fails and has none; None: it needs none even then."""
        self._clock = clock
        self._new_id = new_id
        self._ended: Callable[[Observed], None] | None = ended
        self.began = clock()
        self.request_id = request_id  # empty: nobody needs one
        self.drawn = False  # it is written down whatever becomes of it
        self.tells_id = self.tells_times = False  # in the answer
        self.trace = trace
        self.over_grpc = False
        self.method = self.target = ""
        self.route = ""  # the target without what differs between engines; empty: not known
        self.received = self.sent = 0  # bytes of the body or message, and of the answer's
        self.engine: tuple[str, str] | None = None  # name and version
        self.engine_id = 0
        self.times: tuple[int, int, int, int, int, int] = NOT_RUN  # see Completion.times
        self.batch_requests = 0
        self.calls: list[
            tuple[int, str, int, int, str | None]
        ] = []  # see Completion.calls; traced: else none
        self.taken = 0  # when the completion came
        self.written = 0  # when the answer was ready
        self.status: int | str = 0  # of HTTP, or the name of gRPC's
        self.kind = ""  # SUCCESS or a kind of error, once it is known

    def asks(self, method: str, target: str, route: str, received: int, *, over_grpc: bool = False) -> None:
        """Say what came; `received` in bytes."""
        self.method, self.target, self.route = method, target, route
        self.received, self.over_grpc = received, over_grpc

    def completed(self, call: Served, completion: "Completion") -> None:
        """The request's completion came."""
        self.taken = self._clock()
        self.times = completion.times
        self.batch_requests = completion.batch_requests
        if self.trace is not None:
            self.calls = completion.calls
        self.engine, self.engine_id = call.served_as, call.engine_id

    def headers(self, *, failed: bool = False) -> list[tuple[str, str]]:
        """What the headers of an answer, or of an error (`failed`), say; asked when it is ready."""
        self.written = self._clock()
        if failed:
            self._needs_id()
        headers = []
        if self.tells_id:
            headers.append(("x-request-id", self.request_id))
        if self.tells_times:
            headers.append(("server-timing", self._timing()))
        if self.trace is not None:
            headers.append(("traceresponse", self.trace.parent))
        return headers

    def end(self, status: int | str, kind: str, sent: int) -> None:
        """The answer was written, or nobody waits for it; only the first end counts. `sent` in bytes."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self.status, self.sent = status, sent
        self.kind = kind
        if not self.written:
            self.written = self._clock()
        if kind != SUCCESS:
            self._needs_id()
        ended(self)

    def phases(self) -> list[Phase]:
        """The parts of its time that are known, in their order."""
        _, arrival, start, _, _, end = self.times
        if not arrival:
            return []
        phases = [Phase("decode", self.began, arrival), Phase("queue", arrival, start or self.taken)]
        if start:
            phases.append(Phase("compute", start, end or self.taken))
        phases.append(Phase("encode", self.taken, self.written))
        return phases

    def _needs_id(self) -> None:
        if not self.request_id and self._new_id is not None:
            self.request_id, self.tells_id = self._new_id(), True

    @property
    def total(self) -> Phase:
        return Phase("total", self.began, self.written)

    def _timing(self) -> str:
        """As the header Server-Timing has it, in milliseconds (W3C Server Timing)."""
        return ", ".join(
            f"{name};dur={max(0, end - begin) / 1e6:.3f}" for name, begin, end in (*self.phases(), self.total)
        )
