"""The file of tokens: what each may do, and the SHA-256 of each, never a token itself.

A token has 256 random bits, so nobody finds it from its hash by trying, and a slow hash such as bcrypt, made
for passwords, would add nothing but its time to every request.
"""

import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from trtserve.access.scopes import Scope
from trtserve.errors import Conflict, InvalidInput, NotFound
from trtserve.text import shown

VERSION = 1
PREFIX = "trtserve"  # tools that look for secrets in code find tokens by it
SECRET_BYTES = 32
MOST_BYTES = 16 * 1024**2  # of a file
BY_OTHERS = stat.S_IRWXO | stat.S_IWGRP
MODE = 0o600

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*?!\[\]-]{1,128}$")]


class Token(BaseModel):
    """What the file holds of a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Label
    id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    engines: Annotated[list[Pattern], Field(min_length=1)]
    created: AwareDatetime
    expires: AwareDatetime | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    tokens: list[Token]


class Parts(NamedTuple):
    id: str
    digest: bytes


def parts(token: bytes) -> Parts | None:
    """The ID in a token, and its SHA-256; None if it is not a token of this server's form."""
    prefix, _, rest = token.partition(b"_")
    id, _, secret = rest.partition(b"_")
    if prefix != PREFIX.encode() or not secret:
        return None
    return Parts(id.decode("latin-1"), hashlib.sha256(token).digest())


def read(path: Path) -> list[Token]:
    """The tokens in the file. Raises InvalidInput with a sentence that says what is wrong with it."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InvalidInput(f"The token file {path} is not a file.")
            if found.st_mode & BY_OTHERS:
                raise InvalidInput(
                    f"The token file {path} has the mode {stat.S_IMODE(found.st_mode):04o}, so others "
                    f"on this machine may read or change it: chmod {MODE:o} {path}."
                )
            if found.st_size > MOST_BYTES:
                raise InvalidInput(
                    f"The token file {path} has {found.st_size} bytes; it may have {MOST_BYTES}."
                )
            content = file.read(MOST_BYTES)
    except OSError as failure:
        raise InvalidInput(
            f"The token file {path} cannot be read: {failure.strerror}. Make one with trtserve tokens add."
        ) from None
    try:
        tokens = _File.model_validate_json(content).tokens
    except ValidationError as failure:
        raise InvalidInput(f"The token file {path} is damaged: {_fault(failure)}") from None
    for what in ("name", "id"):
        seen: set[str] = set()
        for token in tokens:
            value = getattr(token, what)
            if value in seen:
                raise InvalidInput(f"The token file {path} has the {what} {value!r} twice.")
            seen.add(value)
    return tokens


def _without_waiting(path: str, flags: int) -> int:
    """Open what may be a pipe, which would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _fault(failure: ValidationError) -> str:
    """The first fault, without the values: what stands in a wrong place may be a token."""
    fault = failure.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}." if where else f"{fault['msg']}."


def add(
    path: Path, name: str, scopes: list[Scope], engines: list[str], *, now: datetime, expires: datetime | None
) -> str:
    """Add a token to the file, which is made if it is not there; return the token, which nothing keeps.

    Raises Conflict if there is one of this name, and InvalidInput.
    """
    with _locked(path):
        tokens = read(path) if path.exists() else []
        if any(token.name == name for token in tokens):
            raise Conflict(f"There is a token {name!r} already: remove it first, or choose another name.")
        taken = {token.id for token in tokens}
        id = next(id for id in iter(lambda: secrets.token_hex(4), None) if id not in taken)
        secret = f"{PREFIX}_{id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        try:
            added = Token(
                name=name,
                id=id,
                sha256=hashlib.sha256(secret.encode()).hexdigest(),
                scopes=sorted(set(scopes)),
                engines=engines,
                created=now.astimezone(UTC).replace(microsecond=0),
                expires=expires,
            )
        except ValidationError as failure:
            given = failure.errors()[0]
            raise InvalidInput(f"{given['loc'][0]} is {shown(given['input'])}: {given['msg']}.") from None
        _write(path, [*tokens, added])
    return secret


def remove(path: Path, name: str) -> None:
    """Remove the token of this name. Raises NotFound and InvalidInput."""
    with _locked(path):
        tokens = read(path)
        rest = [token for token in tokens if token.name != name]
        if len(rest) == len(tokens):
            names = ", ".join(token.name for token in tokens) or "none"
            raise NotFound(f"There is no token {name!r}; there are: {names}.")
        _write(path, rest)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One change at a time, of all processes. The folder is locked: a lock on the file would end with it."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as failure:
        raise InvalidInput(f"The folder of {path} cannot be opened: {failure.strerror}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, tokens: list[Token]) -> None:
    """Replace the file in one step, so that no reader sees a part of it, and a crash leaves one of the two.

    It keeps its owner: the server must be able to read what an administrator changes.
    """
    path = path.resolve()
    whole = {"version": VERSION, "tokens": [token.model_dump(mode="json") for token in tokens]}
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(file.fileno(), MODE)  # whatever the umask says
                if path.exists():
                    owner = path.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write(json.dumps(whole, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as failure:
        raise InvalidInput(f"The token file {path} cannot be written: {failure.strerror}.") from None
