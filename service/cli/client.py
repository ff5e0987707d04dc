"""A client of trtserve for the command line: the server's error sentences as exceptions, upload progress."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import numpy as np
import orjson

CHUNK_BYTES = 1024**2
SAFETENSORS = "application/x-safetensors"
WRONG_URL = (httpx.InvalidURL, UnicodeError)  # the second of a host's name that is none


class ServerError(Exception):
    """The server's error, or why no answer came."""


class Client:
    def __init__(
        self, url: str, transport: httpx.BaseTransport | None = None, token: str | None = None
    ) -> None:
        """`transport` is httpx's own way to the server unless a test gives another.

        Raises ServerError if `url` cannot be parsed.
        """
        # httpx would ask for compressed answers, which take longer to make than to send.
        headers = {"Accept-Encoding": "identity"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        headers |= _trace(os.environ)
        # Loads and executions have no time limit here; only the connection has one.
        try:
            self._http = httpx.Client(
                base_url=url,
                headers=headers,
                timeout=httpx.Timeout(None, connect=10.0),
                transport=transport,
            )
        except WRONG_URL as failure:
            raise _wrong_url(url, failure) from failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def engines(self) -> list[dict[str, Any]]:
        """All engines, from as many pages as the server has."""
        engines: list[dict[str, Any]] = []
        path: str | None = "/engines"
        while path is not None:
            page = self._send("GET", path).json()
            engines += page["engines"]
            path = page.get("next")
        return engines

    def engine(self, ref: str) -> dict[str, Any]:
        engine: dict[str, Any] = self._send("GET", _path(ref)).json()
        return engine

    def add(
        self, plan: Path, query: Mapping[str, str | int | Sequence[str]], sent: Callable[[int], None]
    ) -> tuple[dict[str, Any], int]:
        """Upload a plan, or a model to build one from, without waiting for the build.

        Returns the engine and the status of the answer. `sent` hears of each chunk's bytes.
        """

        def chunks() -> Iterator[bytes]:
            with plan.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                    sent(len(chunk))

        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(plan.stat().st_size),
            "Prefer": "respond-async",
        }
        response = self._send("POST", "/engines", params=query, content=chunks(), headers=headers)
        engine: dict[str, Any] = response.json()
        return engine, response.status_code

    def remove(self, ref: str) -> None:
        self._send("DELETE", _path(ref))

    def names(self) -> list[dict[str, Any]]:
        names: list[dict[str, Any]] = self._send("GET", "/names").json()["names"]
        return names

    def name(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = self._send("GET", f"/names/{quote(name, safe='')}").json()
        return shown

    def point(self, name: str, version: int) -> dict[str, Any]:
        """Make a version of the name current; the name as it is then."""
        path = f"/names/{quote(name, safe='')}"
        shown: dict[str, Any] = self._send("PUT", path, json={"current": version}).json()
        return shown

    def infer(self, ref: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send an inference request; the answer in the form that `headers` ask for."""
        return self._send("POST", f"{_path(ref)}/infer", content=body, headers=headers).content

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except WRONG_URL as failure:
            raise _wrong_url(str(self._http.base_url), failure) from failure
        except httpx.TransportError as failure:
            raise ServerError(
                f"No answer from {self._http.base_url}: {str(failure).rstrip('.')}. "
                "Is a server running there (trtserve serve)? Another one: --server or TRTSERVE_URL."
            ) from failure
        if response.is_error:
            hint = " This command takes the token from TRTSERVE_TOKEN." if response.status_code == 401 else ""
            raise ServerError(_sentence(response) + hint)
        return response


def _trace(environment: Mapping[str, str]) -> dict[str, str]:
    """The trace that a command is part of, as OpenTelemetry's processes tell their children."""
    names = ("traceparent", "tracestate")
    return {name: environment[name.upper()] for name in names if environment.get(name.upper())}


def _wrong_url(url: str, failure: Exception) -> ServerError:
    return ServerError(f"{url} is not the URL of a server: {str(failure).rstrip('.')}.")


def _path(ref: str) -> str:
    return f"/engines/{quote(ref, safe='')}"


def _sentence(response: httpx.Response) -> str:
    try:
        return str(orjson.loads(response.content)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"The server answered {response.status_code} {response.reason_phrase}: is it a trtserve?"


def binary_request(tensors: Mapping[str, np.ndarray[Any, Any]]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request in the binary form: a JSON header, then the tensors' bytes."""
    blobs = {name: array.astype(array.dtype.newbyteorder("<")).tobytes() for name, array in tensors.items()}
    header = orjson.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": _datatype(array.dtype),
                    "shape": array.shape,
                    "parameters": {"binary_data_size": len(blobs[name])},
                }
                for name, array in tensors.items()
            ]
        }
    )
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return b"".join([header, *blobs.values()]), headers


def _datatype(dtype: np.dtype[Any]) -> str:
    """The Open Inference Protocol's name, as FP32; the server refuses an unknown one by this name."""
    if dtype.kind == "b":
        return "BOOL"
    family = {"u": "UINT", "i": "INT", "f": "FP"}.get(dtype.kind)
    return f"{family}{dtype.itemsize * 8}" if family else str(dtype)
