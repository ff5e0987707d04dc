"""The private parts of uvicorn and httptools that we rely on: any release may change them."""

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import httptools
import pytest
from packaging.requirements import Requirement
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

CHANGED = (
    "{what} is gone from {library} {version}. The short way (service/http/short_way.py) and the "
    "classes below it rely on it: adapt them to its replacement, and only then move the range in "
    "pyproject.toml."
)
METHODS = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "eof_received": [],
    "on_message_begin": [],
    "on_url": ["url"],
    "on_header": ["name", "value"],
    "on_headers_complete": [],
    "on_body": ["body"],
    "on_message_complete": [],
    "on_response_complete": [],
    "_start_asgi_task": ["cycle", "app"],
    "_unset_keepalive_if_required": [],
    "shutdown": [],
    "pause_writing": [],
    "resume_writing": [],
}
OF_A_CONNECTION = [
    *("app_state", "client", "connections", "cycle", "flow", "headers", "loop", "parser", "pipeline"),
    *("server_state", "tasks", "timeout_keep_alive_task", "transport", "url"),
]
OF_A_CYCLE = [
    *("keep_alive", "more_body", "response_complete", "response_started", "scope"),
    *("disconnected", "message_event"),
]


def said(what: str, library: str = "uvicorn") -> str:
    return CHANGED.format(what=what, library=library, version=version(library))


@pytest.mark.parametrize("library", ["uvicorn", "httptools"])
def test_the_version_range_has_an_end_and_includes_the_installed_version(library: str) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (wanted,) = [r for r in map(Requirement, project["dependencies"]) if r.name == library]
    assert any(bound.operator == "<" for bound in wanted.specifier), f"{wanted} has no upper bound"
    assert wanted.specifier.contains(version(library)), f"{library} {version(library)} is not in {wanted}"


@pytest.mark.parametrize("name", METHODS)
def test_uvicorns_protocol_has_the_methods_that_ours_override(name: str) -> None:
    method = getattr(HttpToolsProtocol, name, None)
    assert method is not None, said(f"HttpToolsProtocol.{name}()")
    taken = list(inspect.signature(method).parameters)[1:]
    assert taken == METHODS[name], said(f"HttpToolsProtocol.{name}({', '.join(METHODS[name])})")


@pytest.mark.parametrize(
    ("owner", "names"),
    [(HttpToolsProtocol, OF_A_CONNECTION), (RequestResponseCycle, OF_A_CYCLE)],
    ids=["connection", "cycle"],
)
def test_uvicorns_objects_have_the_attributes_that_we_read(owner: type, names: list[str]) -> None:
    source = inspect.getsource(owner)
    for name in names:
        assert f"self.{name}:" in source or f"self.{name} =" in source, said(f"{owner.__name__}.{name}")


def test_uvicorn_has_the_status_lines_that_answers_begin_with() -> None:
    lines = getattr(httptools_impl, "STATUS_LINE", {})
    assert lines.get(200) == b"HTTP/1.1 200 OK\r\n", said("STATUS_LINE")


class Recorder:
    """Records the callbacks of the parser."""

    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


def test_httptools_ends_a_message_after_a_head_that_offers_an_upgrade() -> None:
    recorder = Recorder()
    head = b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\n"
    parser = httptools.HttpRequestParser(recorder)
    with pytest.raises(httptools.HttpParserUpgrade) as offer:
        parser.feed_data(head + b"abc")
    what = "HttpParserUpgrade with the head's length"
    assert (offer.value.args[0], recorder.complete) == (len(head), 1), said(what, "httptools")


@pytest.mark.parametrize(
    "name", ["feed_data", "get_method", "get_http_version", "should_keep_alive", "should_upgrade"]
)
def test_httptools_has_the_methods_that_we_call(name: str) -> None:
    assert hasattr(httptools.HttpRequestParser, name), said(f"HttpRequestParser.{name}()", "httptools")
