"""A client for ordinary code. AsyncClient has the same methods for asyncio: change both."""

import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import tenacity

from trtserve.client import connection, operations
from trtserve.client.bodies import Answer
from trtserve.client.errors import error_of, unreachable
from trtserve.client.operations import Operation, Read, Row, Uploaded
from trtserve.client.tensors import Tensors
from trtserve.client.upload import Progress, Upload

LOOKS_EVERY_S = 0.5  # at a build


class Client:
    """A connection to a server, for any number of threads.

    Every method raises what trtserve.errors has for the answer's `code`, and NoAnswer if there is none. A
    full queue (429) or a shortage (503) is waited out as Retry-After says, at most `attempts` - 1 times.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        attempts: int = connection.ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url`: without it that of TRTSERVE_URL, or this machine's; `token`: without it TRTSERVE_TOKEN's.

        `headers`: further ones of each request. `verify`: an ssl.SSLContext, or False, as httpx has it;
        without it SSL_CERT_FILE names certificates of your own. `transport` and `sleep` are for tests. Raises
        InvalidInput if `url` is not a URL.
        """
        self.url = connection.full_url(
            os.environ.get("TRTSERVE_URL") or connection.DEFAULT_URL if url is None else url
        )
        token = token or os.environ.get("TRTSERVE_TOKEN") or None
        self._sleep = sleep
        self._retries = tenacity.Retrying(sleep=sleep, **connection.retries(attempts))
        try:
            self._http = httpx.Client(
                **connection.arguments(self.url, token, headers), verify=verify, transport=transport
            )
        except connection.WRONG_URL as failure:
            raise connection.wrong_url(self.url, failure) from failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- engines

    def add(
        self,
        plan: str | os.PathLike[str],
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Row:
        """Upload a plan, or a model to build one from; the engine once it is ready to run.

        `options` are those of POST /engines: max_batch_size=8, backend="tensorrt", …
        """
        uploaded = self.upload(plan, name=name, progress=progress, **options)
        return self.wait(uploaded.engine) if uploaded.is_accepted else uploaded.engine

    def upload(
        self,
        plan: str | os.PathLike[str],
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Uploaded:
        """Upload a plan as `add` does, without waiting for a build.

        Raises OSError if the file cannot be read.
        """
        return self._run(operations.upload(Upload(plan, progress), {"name": name, **options}))

    def wait(self, engine: Row, looked: Callable[[Row], None] | None = None) -> Row:
        """The engine once its plan is built and loaded; `looked` sees it meanwhile, twice a second.

        Raises Unavailable if that fails.
        """
        while operations.is_under_way(engine):
            self._sleep(LOOKS_EVERY_S)
            engine = self.engine(engine["id"])
            if looked is not None:
                looked(engine)
        if failure := operations.unserved(engine):
            raise failure
        return engine

    def engines(self) -> list[Row]:
        """All engines, from as many pages as the server has."""
        engines: list[Row] = []
        path: str | None = "/engines"
        while path is not None:
            page = self._run(operations.page(path))
            engines += page["engines"]
            path = page.get("next")
        return engines

    def engine(self, ref: str | int) -> Row:
        """An engine by its name or ID."""
        return self._run(operations.engine(ref))

    def change(self, ref: str | int, *, in_place: bool = False, **options: Any) -> Row:
        """Give an engine other options while it serves; the engine once it has them.

        None stands for the server's setting or default. `in_place`: load it only once it is unloaded, which
        needs no memory for two, but refuses requests. Raises why it has its former options still.
        """
        engine = self._run(operations.change(ref, options, in_place=in_place))
        while operations.is_changing(engine):
            self._sleep(LOOKS_EVERY_S)
            engine = self.engine(engine["id"])
        if failure := operations.unchanged(engine):
            raise failure
        return engine

    def remove(self, ref: str | int) -> None:
        """Remove an engine; returns when it has drained."""
        self._run(operations.remove(ref))

    def load(self, name: str, config: Mapping[str, Any] | None = None) -> None:
        """Load all versions of a name again; returns when they are ready.

        `config` changes their options: see POST /v2/repository/models/{name}/load.
        """
        self._run(operations.load(name, config))

    def unload(self, name: str) -> None:
        """Unload all versions of a name, and keep them on disk."""
        self._run(operations.unload(name))

    # -- names

    def names(self) -> list[Row]:
        return self._run(operations.names())

    def name(self, name: str) -> Row:
        return self._run(operations.name(name))

    def point(self, name: str, version: int) -> Row:
        """Make a version of the name current; the name as it is then."""
        return self._run(operations.point(name, version))

    # -- requests

    def infer(
        self,
        ref: str | int,
        tensors: Tensors | None = None,
        /,
        *,
        timeout_s: float | None = None,
        **named: Any,
    ) -> dict[str, Any]:
        """Run an engine once: infer("m", x=array), or infer("m", {"x": array}) for any name.

        The outputs by name: torch's tensors if an input is one, otherwise arrays of numpy; with strings
        among them always arrays. Without `timeout_s` the server's own limit holds; 0 is none.
        """
        return self._run(operations.infer(ref, {**(tensors or {}), **named}, timeout_s))

    def infer_request(self, ref: str | int, tensors: Tensors) -> httpx.Request:
        """The request that `infer` would send, for who sends it otherwise."""
        return connection.built(self._http, operations.infer(ref, tensors, None))

    def infer_body(
        self,
        ref: str | int,
        body: bytes,
        *,
        content_type: str,
        accept: str,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Run an engine once on a body of your own; the answer in the form that `accept` asks for.

        `headers` are further ones, such as Inference-Header-Content-Length.
        """
        return self._run(operations.infer_body(ref, body, content_type, accept, headers or {}))

    # -- the server

    def stats(self, name: str | None = None) -> list[Row]:
        """The statistics of a model's versions, or of all models, as the Open Inference Protocol has them."""
        return self._run(operations.stats(name))

    def logs(self, limit: int = 100, level: str = "debug") -> list[Row]:
        """The last lines of the server's log, the newest last."""
        return self._run(operations.logs(limit, level))

    def metrics(self, names: Sequence[str] = (), ids: Sequence[int] = ()) -> str:
        """The metrics in Prometheus's text format: only those of these names, and of these engines' IDs."""
        return self._run(operations.metrics(names, ids))

    def version(self) -> Row:
        """The versions of trtserve and of what it runs on."""
        return self._run(operations.version())

    def ready(self) -> None:
        """Return if the server is ready. Raises Unavailable with the reason otherwise."""
        self._run(operations.ready())

    def _run(self, operation: Operation[Read]) -> Read:
        return operation.answer(self._retries.copy()(self._send, operation))

    def _send(self, operation: Operation[Read]) -> httpx.Response:
        body = operation.body
        try:
            response = self._http.request(
                operation.method,
                operation.path,
                content=body.chunks() if isinstance(body, Upload) else body,
                **operation.sent,
            )
        except connection.WRONG_URL as failure:
            raise connection.wrong_url(self.url, failure) from failure
        except httpx.TransportError as failure:
            raise unreachable(self.url, failure) from failure
        if not response.is_success:  # nor followed, if it names another place
            raise error_of(response)
        return response
