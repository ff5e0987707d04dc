"""Tokens for tests of a server that demands them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trtserve.access import token_file
from trtserve.access.scopes import Scope

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Tokens:
    """A file of tokens."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._made = 0

    def add(self, *scopes: str, engines: tuple[str, ...] = ("*",), **options: Any) -> str:
        """Add a token; return the Authorization that sends it."""
        self._made += 1
        name = options.pop("name", f"token-{self._made}")
        given = [Scope(scope) for scope in scopes]
        expires = options.pop("expires", None)
        token = token_file.add(self.file, name, given, list(engines), now=NOW, expires=expires)
        return f"Bearer {token}"

    def remove(self, name: str) -> None:
        token_file.remove(self.file, name)
