"""Which `Host` a request may name, and which web pages may change anything: no page may use a local server.

A browser sends a page's requests to any address that it can reach. `Origin` says which page asks, and
`Sec-Fetch-Site` how that page is related to the server (Source: Fetch, "Origin header"; W3C, "Fetch Metadata
Request Headers"). If an attacker's name is made to point to this machine (DNS rebinding), the browser takes
his page for the server's own, but `Host` still shows that name. No one can make an address, `localhost` or a
name without a dot point elsewhere.

No page has a token unless a person gave it one, so with tokens a page of another origin gets nowhere; without
them its `Origin` is checked on every address.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from trtserve.access.opening import demands_tokens
from trtserve.addresses import on_loopback
from trtserve.errors import Forbidden
from trtserve.http import error_answers
from trtserve.settings import Settings
from trtserve.text import shown

SAFE = {"GET", "HEAD", "OPTIONS"}  # methods that change nothing; other pages cannot read their answers
OWN_SITE = b"same-origin"
FOREIGN_SITES = {b"same-site", b"cross-site"}
HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:/@]*)(?::([0-9]*))?")
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")
PORTS = {"http": "80", "https": "443"}

Headers = Iterable[tuple[bytes, bytes]]


class Host(NamedTuple):
    name: str  # in lower case, an IPv6 address without its brackets
    port: str  # empty: the scheme's own

    @classmethod
    def read(cls, text: str) -> "Host | None":
        found = HOST.fullmatch(text)
        return None if found is None else cls(found[1].strip("[]").removesuffix("."), found[2] or "")


class AllowedHosts:
    """Decides from a request's method and headers alone whether it is allowed. Immutable."""

    def __init__(self, names: str, *, local: bool, origins: str = "", tokens: bool = True) -> None:
        """`names`, `origins`: the settings' texts; `local`: True if only this machine can reach the server;
        `tokens`: True if requests need one."""
        listed = [name.strip().lower() for name in names.split(",") if name.strip()]
        self._names = frozenset(listed)
        self._ends = tuple(name[1:] for name in listed if name.startswith("*."))
        self._dotless = not listed
        self._origins = frozenset(listed_origins(origins))
        self._checks_hosts = (local or bool(listed)) and "*" not in listed
        self._checks_pages = self._checks_hosts or (not tokens and "*" not in listed)

    @classmethod
    def of(cls, settings: Settings) -> "AllowedHosts":
        return cls(
            settings.allowed_hosts,
            local=on_loopback(settings.host),
            origins=settings.cors_origins,
            tokens=demands_tokens(settings),
        )

    def refusal(self, method: str, headers: Headers) -> Forbidden | None:
        """Why a request is refused, or None; names of headers are in lower case."""
        if not self._checks_pages:
            return None
        asked = site = b""
        origins = []
        for name, value in headers:
            if name == b"host":
                asked = value
            elif name == b"origin":
                origins.append(_text(value))
            elif name == b"sec-fetch-site":
                site = value.strip().lower()
        host = Host.read(_text(asked))
        if host is None or (self._checks_hosts and not self._may_be_called(host.name)):
            return _foreign_host(asked)
        if method in SAFE:
            return None
        foreign = [origin for origin in origins if not self._is_listed(origin)]
        if site in FOREIGN_SITES and (foreign or not origins):
            return _foreign_page(foreign)
        if site != OWN_SITE and not all(_is_of(origin, host) for origin in foreign):
            return _foreign_page(foreign)
        return None

    def _may_be_called(self, name: str) -> bool:
        if not name or name == "localhost" or name.endswith(".localhost"):
            return True
        return self._names_it(name) or (self._dotless and "." not in name) or _is_address(name)

    def _names_it(self, name: str) -> bool:
        """True if the setting lists this name."""
        return name in self._names or (bool(self._ends) and name.endswith(self._ends))

    def _is_listed(self, origin: str) -> bool:
        """True if a setting lists the origin, or the origin's host, whatever its port."""
        if origin in self._origins:
            return True
        found = ORIGIN.fullmatch(origin)
        host = found and Host.read(found[2])
        return host is not None and self._names_it(host.name)


def listed_origins(origins: str) -> list[str]:
    """The origins in the setting's text."""
    return [origin.strip() for origin in origins.split(",") if origin.strip()]


class RefuseForeign:
    """Wraps the application, and answers the requests that `hosts` refuses."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._hosts.refusal(scope["method"], scope["headers"])
            if refusal is not None:
                await error_answers.answer(scope, refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_of(origin: str, host: Host) -> bool:
    """True if the origin is that of pages from this host; `null`, which hides the page's origin, is not."""
    found = ORIGIN.fullmatch(origin)
    if found is None:
        return False
    usual = PORTS.get(found[1], "")
    its = Host.read(found[2])
    return its is not None and (its.name, its.port or usual) == (host.name, host.port or usual)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip().lower()


def _foreign_host(asked: bytes) -> Forbidden:
    return Forbidden(
        f"The request is for the host {shown(_text(asked))}, which is not a known name of this server. "
        "Use its address or localhost, or start it with that name among its --allowed-hosts "
        "(TRTSERVE_ALLOWED_HOSTS)."
    )


def _foreign_page(origins: list[str]) -> Forbidden:
    page = f"a page of {', '.join(map(shown, origins[:2]))}" if origins else "a page of another origin"
    return Forbidden(
        f"A browser sent this request for {page}, but only the server's own pages may send requests that can "
        "change something. If that page is yours, start the server with its host among the --allowed-hosts "
        "(TRTSERVE_ALLOWED_HOSTS)."
    )
