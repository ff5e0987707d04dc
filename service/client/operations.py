"""What a client can ask of a server: for each a request, and how its answer is read.

Client and AsyncClient send them; nothing here does.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
from safetensors import SafetensorError

from trtserve.client import strings
from trtserve.client.bodies import ACCEPTED, Answer, encode
from trtserve.client.errors import NoAnswer
from trtserve.client.tensors import Tensors, of_torch
from trtserve.client.upload import Upload
from trtserve.errors import TrtserveError, Unavailable
from trtserve.text import cut

Read = TypeVar("Read")
Row = dict[str, Any]
Options = Mapping[str, Any]

NONSENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, SafetensorError)
"""What reading an answer raises if it is another one than this server's."""


@dataclass(frozen=True)
class Operation(Generic[Read]):
    """A request, and what its answer says."""

    method: str
    path: str
    read: Callable[[httpx.Response], Read]
    sent: dict[str, Any] = field(default_factory=dict)  # arguments of httpx's build_request
    body: bytes | Upload | None = None

    def answer(self, response: httpx.Response) -> Read:
        """What a successful answer says. Raises NoAnswer for one that no trtserve gives."""
        try:
            return self.read(response)
        except NONSENSE as failure:
            told = cut(f"{type(failure).__name__}: {failure}")
            raise NoAnswer(
                f"The answer to {self.method} {self.path} is not one of trtserve's ({told}): does another "
                "server run there?"
            ) from failure


class Uploaded(NamedTuple):
    engine: Row
    is_new: bool  # False: the server had this plan
    is_accepted: bool  # its plan is being built: see `wait`


def _row(*fields: str) -> Callable[[httpx.Response], Row]:
    """Reads a JSON object that has these fields, which are used here."""

    def read(response: httpx.Response) -> Row:
        found: Row = response.json()
        for name in fields:
            found[name]  # raises what is NONSENSE
        return dict(found)

    return read


_engine = _row("id", "state")


def _nothing(response: httpx.Response) -> None:
    return None


def _path(kind: str, ref: str | int) -> str:
    return f"/{kind}/{quote(str(ref), safe='')}"


def page(path: str) -> Operation[Row]:
    """A page of the engines; `next` in it is the path of the next one."""

    def read(response: httpx.Response) -> Row:
        found = _row("engines")(response)
        following = found.get("next")
        if not isinstance(found["engines"], list) or following == path:
            raise ValueError("a page has a list of engines, and the next is another one")
        if following is not None and not following.startswith("/engines?"):
            raise ValueError(f"the next page is {following}")
        return found

    return Operation("GET", path, read)


def engine(ref: str | int) -> Operation[Row]:
    return Operation("GET", _path("engines", ref), _engine)


def upload(plan: Upload, options: Options) -> Operation[Uploaded]:
    def read(response: httpx.Response) -> Uploaded:
        status = response.status_code
        return Uploaded(_engine(response), status != httpx.codes.OK, status == httpx.codes.ACCEPTED)

    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(plan.size),
        "Prefer": "respond-async",  # a build may take longer than a connection lasts
    }
    asked = {name: _option(value) for name, value in options.items() if value is not None}
    return Operation("POST", "/engines", read, {"params": asked, "headers": headers}, plan)


def change(ref: str | int, options: Options, *, in_place: bool) -> Operation[Row]:
    asked = {name: _option(value) for name, value in options.items()}
    sent = {
        "params": {"in_place": str(in_place).lower()},
        "headers": {"Prefer": "respond-async, wait=10", "Content-Type": "application/merge-patch+json"},
    }
    return Operation("PATCH", _path("engines", ref), _engine, sent, json.dumps(asked).encode())


def _option(value: Any) -> Any:
    return ("on" if value else "off") if isinstance(value, bool) else value


def remove(ref: str | int) -> Operation[None]:
    return Operation("DELETE", _path("engines", ref), _nothing)


def names() -> Operation[list[Row]]:
    return Operation("GET", "/names", lambda response: list(response.json()["names"]))


def name(name: str) -> Operation[Row]:
    return Operation("GET", _path("names", name), _row())


def point(name: str, version: int) -> Operation[Row]:
    return Operation("PUT", _path("names", name), _row(), {"json": {"current": version}})


def infer_body(
    ref: str | int, body: bytes, content_type: str, accept: str, headers: Mapping[str, str]
) -> Operation[Answer]:
    path = f"{_path('engines', ref)}/infer"
    sent = {"Content-Type": content_type, "Accept": accept} | dict(headers)
    return Operation("POST", path, _answer, {"headers": sent}, body)


def infer(ref: str | int, tensors: Tensors, timeout_s: float | None) -> Operation[dict[str, Any]]:
    """Outputs are torch's tensors if an input is one and nothing is strings, otherwise arrays of numpy."""
    body, headers = encode(tensors)
    headers["Accept"] = ACCEPTED
    if timeout_s is not None:
        headers["Inference-Timeout-Ms"] = str(math.ceil(timeout_s * 1000))
    torch = of_torch(tensors)
    return Operation(
        "POST",
        f"{_path('engines', ref)}/infer",
        lambda response: _answer(response).outputs(torch=torch),
        {"headers": headers},
        body,
    )


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.content, response.headers.get(strings.HEADER_LENGTH))


def load(name: str, config: Options | None) -> Operation[None]:
    return _repository(name, "load", {} if config is None else {"config": json.dumps(config)})


def unload(name: str) -> Operation[None]:
    return _repository(name, "unload", {})


def _repository(name: str, verb: str, parameters: Row) -> Operation[None]:
    path = f"{_path('v2/repository/models', name)}/{verb}"
    return Operation("POST", path, _nothing, {"json": {"parameters": parameters}})


def stats(name: str | None) -> Operation[list[Row]]:
    path = "/v2/models/stats" if name is None else f"{_path('v2/models', name)}/stats"
    return Operation("GET", path, lambda response: list(response.json()["model_stats"]))


def logs(limit: int, level: str) -> Operation[list[Row]]:
    asked = {"limit": limit, "level": level}
    return Operation("GET", "/logs", lambda response: list(response.json()["lines"]), {"params": asked})


def metrics(names: Sequence[str], ids: Sequence[int]) -> Operation[str]:
    asked = {"name[]": list(names), "id[]": list(ids)}
    return Operation("GET", "/metrics", lambda response: response.text, {"params": asked})


def version() -> Operation[Row]:
    return Operation("GET", "/version", _row())


def ready() -> Operation[None]:
    """Raises Unavailable with the reason if the server is not ready."""
    return Operation("GET", "/health/ready", _nothing)


def is_under_way(engine: Row) -> bool:
    return engine["state"] in {"BUILDING", "LOADING"}


def is_changing(engine: Row) -> bool:
    change = engine.get("change")
    return change is not None and change["state"] in {"WAITING", "LOADING", "DRAINING"}


def unchanged(engine: Row) -> TrtserveError | None:
    """Why an engine whose change has ended has the options that it had; None if it has the new ones."""
    change = engine.get("change")
    return Unavailable(change["reason"]) if change is not None and change["state"] == "FAILED" else None


def unserved(engine: Row) -> TrtserveError | None:
    """Why an engine that is built and loaded cannot be asked; None if it can."""
    if engine["state"] in {"READY", "DORMANT"}:
        return None
    reason = engine["reason"] or "It was unloaded."
    return Unavailable(f"{reason} Engine {engine['id']} is {engine['state']}: remove it, or upload it again.")
