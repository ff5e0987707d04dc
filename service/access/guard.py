"""Decides whether a request's token allows what it asks, over HTTP and gRPC alike."""

import fnmatch
import hmac
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from trtserve.access import token_file
from trtserve.access.scopes import ALL, INFERENCE, Need, Scope
from trtserve.access.token_file import Token
from trtserve.errors import Forbidden, InvalidInput, Unauthenticated
from trtserve.text import listed, shown
from trtserve.watched_files import WatchedFiles

logger = logging.getLogger(__name__)

KEPT = 1024  # headers whose token was accepted
LONGEST_NAME = 128  # characters; a longer one names no engine, and is not compared with patterns
REALM = 'Bearer realm="trtserve"'
MISSING, UNKNOWN, EXPIRED, SCOPE, ENGINE = "missing", "unknown", "expired", "scope", "engine"
REASONS = (MISSING, UNKNOWN, EXPIRED, SCOPE, ENGINE)
FORM = "Authorization: Bearer TOKEN"
ONLY_MANAGE = frozenset({Scope.MANAGE})

Names = Callable[[str], Collection[str]]
"""From an engine's ID to its names."""


class Grant(NamedTuple):
    """What a token allows."""

    name: str
    digest: bytes
    scopes: frozenset[Scope]
    engines: tuple[str, ...]
    pattern: re.Pattern[str] | None  # None: all engines
    expires: float  # seconds since 1970

    @classmethod
    def of(cls, token: Token) -> "Grant":
        pattern = "|".join(map(fnmatch.translate, token.engines))
        return cls(
            token.name,
            bytes.fromhex(token.sha256),
            frozenset(token.scopes),
            tuple(token.engines),
            None if "*" in token.engines else re.compile(pattern),
            float("inf") if token.expires is None else token.expires.timestamp(),
        )


class _State(NamedTuple):
    """What was read at one time, and what was found out from it."""

    grants: dict[str, Grant]  # by the tokens' IDs
    # By whole headers. Only accepted ones are kept, so clients without a token cannot fill it, and the keyed
    # hash of a dictionary tells nobody how much of a header is right.
    accepted: dict[bytes, Grant]


class Guard:
    """Belongs to the event loop, except for reread(), which one thread at a time may call."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises InvalidInput for a file that cannot be used. The clock has seconds since 1970."""
        self._file = file
        self._clock = clock
        self._watched = WatchedFiles([file])
        self._watched.changed()
        self._state = _read(file)
        self.names_of: Names = lambda _: ()
        self.refused: Counter[str] = Counter()  # by reason

    def reread(self) -> None:
        """Read the file again if it has changed; a bad one changes nothing. Blocks."""
        if not self._watched.changed():
            return
        try:
            self._state = _read(self._file)
        except InvalidInput as failure:
            logger.warning("the tokens that were read last stay valid: %s", failure)
        else:
            logger.info("read %d tokens from %s", len(self._state.grants), self._file)

    def check(self, authorization: bytes | None, need: Need, engine: str | None = None) -> None:
        """Raise Unauthenticated or Forbidden unless the header's token allows what needs this.

        `engine`: the name or ID of the engine that it is about; None: only the scope is checked yet.
        """
        if need.open:
            return
        grant = self._grant(authorization)
        if grant.scopes.isdisjoint(need.scopes):
            self.refused[SCOPE] += 1
            raise _lacks_scope(grant, need)
        if engine is None and need.about == ALL:
            engine = ""
        if engine is not None and need.about is not None and not self._covers(grant, need, engine):
            self.refused[ENGINE] += 1
            raise _lacks_engine(grant, engine)

    def may_infer(self, authorization: bytes | None, engine: str) -> bool:
        """True if the token is known to allow inference on the engine; if not, check() says what is wrong."""
        if authorization is None:
            return False
        grant = self._state.accepted.get(authorization)
        if grant is None or Scope.INFER not in grant.scopes or grant.expires <= self._clock():
            return False
        return grant.pattern is None or self._covers(grant, INFERENCE, engine)

    def _grant(self, authorization: bytes | None) -> Grant:
        state = self._state  # one read of the file, even if the next one replaces it now
        grant = None if authorization is None else state.accepted.get(authorization)
        if grant is None:
            grant = self._find(state, authorization)
        if grant.expires <= self._clock():
            self.refused[EXPIRED] += 1
            raise _unknown(f"The token {grant.name!r} has expired: ask for another one.")
        return grant

    def _find(self, state: _State, authorization: bytes | None) -> Grant:
        if authorization is None:
            self.refused[MISSING] += 1
            raise Unauthenticated(f"The request has no token: send `{FORM}`.", challenge=REALM)
        scheme, _, token = authorization.strip(b" \t").partition(b" ")
        if scheme.lower() != b"bearer":
            self.refused[UNKNOWN] += 1
            raise _unknown(f"The Authorization of the request is not one bearer token: send `{FORM}`.")
        parts = token_file.parts(token.strip(b" \t"))
        grant = None if parts is None else state.grants.get(parts.id)
        # The ID is no secret; what is, is compared in the same time however much of it is right.
        if parts is None or grant is None or not hmac.compare_digest(grant.digest, parts.digest):
            self.refused[UNKNOWN] += 1
            raise _unknown(
                "This server does not know the request's token: it has been removed, or is mistyped."
            )
        if len(state.accepted) >= KEPT:
            state.accepted.clear()
        state.accepted[authorization or b""] = grant
        return grant

    def _covers(self, grant: Grant, need: Need, engine: str) -> bool:
        """True if the token is for this engine. An ID stands for the engine's names: for one of them where it
        is used, and for all of them where that engine may be changed for the others too."""
        pattern = grant.pattern
        if pattern is None:
            return True
        if not engine or len(engine) > LONGEST_NAME:
            return False
        if pattern.match(engine):
            return True
        if not (engine.isascii() and engine.isdecimal()):
            return False
        matched = [pattern.match(name) is not None for name in self.names_of(engine)]
        return bool(matched) and (all(matched) if need.scopes == ONLY_MANAGE else any(matched))


def _read(file: Path) -> _State:
    return _State({token.id: Grant.of(token) for token in token_file.read(file)}, {})


def _unknown(sentence: str) -> Unauthenticated:
    return Unauthenticated(sentence, challenge=f'{REALM}, error="invalid_token"')


def _lacks_scope(grant: Grant, need: Need) -> Forbidden:
    if not need.scopes:
        return Forbidden("No token allows this: it has no scope.")
    needed, has = sorted(need.scopes), sorted(grant.scopes)
    return Forbidden(
        f"This needs a token with the scope {listed(needed, 'or')}; {grant.name!r} has {listed(has)}.",
        challenge=f'{REALM}, error="insufficient_scope", scope="{needed[0]}"',
    )


def _lacks_engine(grant: Grant, engine: str) -> Forbidden:
    asked = f"{shown(engine)} is none of them" if engine else "this names none of them"
    return Forbidden(
        f"The token {grant.name!r} is for the engines {listed(grant.engines)}, and {asked}.",
        challenge=f'{REALM}, error="insufficient_scope"',
    )
