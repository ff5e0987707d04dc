"""The guard: whose token allows what, and what a change of the file does."""

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trtserve.access import token_file
from trtserve.access.guard import KEPT, REASONS, Guard
from trtserve.access.scopes import ALL, METHODS, NOBODY, OPEN, ROUTES, Need, Scope
from trtserve.errors import Forbidden, InvalidInput, Unauthenticated

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
INFER = Need(frozenset({Scope.INFER}), "name")
MANAGE = Need(frozenset({Scope.MANAGE}), "name")


class World:
    """A file of tokens, a clock, and the guard over both."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = NOW
        self.add("first")
        self.guard = Guard(file, clock=self._time)

    def _time(self) -> float:
        return self.now.timestamp()

    def add(self, name: str, *scopes: str, engines: tuple[str, ...] = ("*",), **options: Any) -> bytes:
        """Add a token; return the header that sends it."""
        given = [Scope(scope) for scope in scopes or ("infer",)]
        token = token_file.add(self.file, name, given, list(engines), now=NOW, expires=options.get("expires"))
        return f"Bearer {token}".encode()

    def added(self, *scopes: str, **options: Any) -> bytes:
        header = self.add("ci", *scopes, **options)
        self.guard.reread()
        return header


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "tokens.json")


def test_a_token_allows_what_its_scopes_say_and_nothing_else(world: World) -> None:
    for scope in Scope:
        header = world.add(f"for-{scope}", scope)
        world.guard.reread()
        for other in Scope:
            need = Need(frozenset({other}))
            if other == scope:
                world.guard.check(header, need)
                continue
            with pytest.raises(Forbidden, match=f"scope {other}; 'for-{scope}' has {scope}") as refused:
                world.guard.check(header, need)
            assert refused.value.challenge == (
                f'Bearer realm="trtserve", error="insufficient_scope", scope="{other}"'
            )


def test_one_of_several_scopes_is_enough(world: World) -> None:
    world.guard.check(world.added("metrics", "manage"), Need(frozenset({Scope.INFER, Scope.MANAGE})))


def test_what_is_open_needs_no_token_and_what_has_no_need_is_for_nobody(world: World) -> None:
    world.guard.check(None, OPEN)
    world.guard.check(b"nonsense", OPEN)
    with pytest.raises(Unauthenticated):
        world.guard.check(None, NOBODY)
    with pytest.raises(Forbidden, match="has no scope"):
        world.guard.check(world.added("infer", "manage", "metrics"), NOBODY)


def test_a_request_without_a_token_is_challenged(world: World) -> None:
    with pytest.raises(Unauthenticated, match="no token") as refused:
        world.guard.check(None, INFER)
    assert refused.value.challenge == 'Bearer realm="trtserve"'


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header[:-1],
        lambda header: header + b"x",
        lambda header: header[:-1] + (b"x" if header[-1:] != b"x" else b"y"),
        lambda header: header.replace(b"Bearer", b"Basic"),
        lambda header: header.replace(b"Bearer ", b""),
        lambda header: header.replace(b"trtserve_", b"trtserve_f"),
        lambda header: header + b", " + header,
        lambda header: b"",
        lambda header: b"Bearer",
        lambda header: b"Bearer \xff\xfe",
        lambda header: b"Bearer trtserve_" + b"0" * 60_000,
    ],
)
def test_an_unknown_token_is_refused(world: World, change: Any) -> None:
    header = world.added()
    world.guard.check(header, INFER)
    for _ in range(2):
        with pytest.raises(Unauthenticated) as refused:
            world.guard.check(change(header), INFER)
        assert refused.value.challenge == 'Bearer realm="trtserve", error="invalid_token"'
    assert not world.guard.may_infer(change(header), "x")


def test_the_hash_of_a_token_is_no_token(world: World) -> None:
    header = world.added()
    (token,) = (token for token in token_file.read(world.file) if token.name == "ci")
    for secret in (token.sha256, bytes.fromhex(token.sha256).hex().upper()):
        forged = header[:25] + secret.encode()
        with pytest.raises(Unauthenticated):
            world.guard.check(forged, INFER)


@pytest.mark.parametrize("written", [b"bearer %b", b"BEARER %b", b"  Bearer   %b\t", b" Bearer %b"])
def test_the_scheme_is_written_in_any_way(world: World, written: bytes) -> None:
    header = written % world.added().removeprefix(b"Bearer ")
    world.guard.check(header, INFER)
    assert world.guard.may_infer(header, "x")


def test_a_token_expires(world: World) -> None:
    header = world.added(expires=NOW + timedelta(minutes=1))
    world.guard.check(header, INFER)
    assert world.guard.may_infer(header, "x")
    world.now += timedelta(minutes=1)
    with pytest.raises(Unauthenticated, match="'ci' has expired"):
        world.guard.check(header, INFER)
    assert not world.guard.may_infer(header, "x")


# -- engines


def test_a_token_is_for_the_engines_that_its_patterns_match(world: World) -> None:
    header = world.added("infer", "manage", engines=("team-a-*", "shared", "v?"))
    world.guard.check(header, INFER)
    for engine in ("team-a-", "team-a-x.y", "shared", "v1"):
        for need in (INFER, MANAGE):
            world.guard.check(header, need, engine)
        assert world.guard.may_infer(header, engine)
    for engine in ("team-b", "Team-a-x", "xshared", "sharedx", "v12", "shared\n", "1234", "", "v" * 999):
        for need in (INFER, MANAGE):
            with pytest.raises(Forbidden, match="for the engines team-a-\\*, shared and v\\?"):
                world.guard.check(header, need, engine)
        assert not world.guard.may_infer(header, engine)


def test_what_is_about_all_engines_needs_a_token_for_all_of_them(world: World) -> None:
    limited = world.added("metrics", engines=("*a*", "?*"))
    with pytest.raises(Forbidden, match="names none of them"):
        world.guard.check(limited, ROUTES["GET /metrics"])
    world.guard.check(limited, ROUTES["GET /version"])
    unlimited = world.add("all", "metrics", engines=("a", "*"))
    world.guard.reread()
    world.guard.check(unlimited, ROUTES["GET /metrics"])


def test_an_id_stands_for_one_of_its_names_to_use_and_for_all_of_them_to_change(world: World) -> None:
    header = world.added("infer", "manage", engines=("team-a-*",))
    names = {"11": ["team-a-x"], "12": ["team-a-x", "team-b-x"], "13": ["team-b-x"], "14": []}
    world.guard.names_of = lambda id: names.get(id, [])

    def allowed(need: Need) -> list[str]:
        found = []
        for id in (*names, "15", "٣"):
            try:
                world.guard.check(header, need, id)
            except Forbidden:
                continue
            found.append(id)
        return found

    assert allowed(INFER) == ["11", "12"]
    assert allowed(MANAGE) == ["11"]
    assert world.guard.may_infer(header, "12")
    assert not world.guard.may_infer(header, "13")


# -- changes of the file


def test_a_removed_token_is_refused_once_the_file_is_read_again(world: World) -> None:
    header = world.added()
    world.guard.check(header, INFER)
    token_file.remove(world.file, "ci")
    world.guard.check(header, INFER)
    world.guard.reread()
    with pytest.raises(Unauthenticated, match="does not know"):
        world.guard.check(header, INFER)
    assert not world.guard.may_infer(header, "x")


def test_a_token_that_lost_a_scope_loses_what_it_allowed(world: World) -> None:
    header = world.added("infer")
    world.guard.check(header, INFER)
    world.file.write_text(world.file.read_text().replace('"infer"', '"metrics"'))
    world.guard.reread()
    with pytest.raises(Forbidden):
        world.guard.check(header, INFER)
    assert not world.guard.may_infer(header, "x")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text(file.read_text()[:-30]),
        lambda file: file.write_text(""),
        lambda file: file.chmod(0o644),
        lambda file: file.unlink(),
        lambda file: (file.unlink(), file.mkdir()),
    ],
)
def test_a_file_that_turns_bad_changes_nothing_and_is_told_once(
    world: World, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    header = world.added()
    good = world.file.read_bytes()
    spoil(world.file)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            world.guard.reread()
    assert len(caplog.records) == 1
    assert "read last stay valid" in caplog.text
    assert str(world.file) in caplog.text
    world.guard.check(header, INFER)

    if world.file.is_dir():
        world.file.rmdir()
    world.file.unlink(missing_ok=True)
    world.file.touch(0o600)
    world.file.write_bytes(good.replace(b'"ci"', b'"new"'))
    world.guard.reread()
    with pytest.raises(Forbidden, match="'new'"):
        world.guard.check(header, MANAGE)


def test_a_file_that_is_as_it_was_is_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_file, "read", lambda file: pytest.fail("it was read"))
    world.guard.reread()


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_read(world: World) -> None:
    header = world.added()
    before = world.file.stat()
    new = world.file.with_name("new")
    new.touch(0o600)
    new.write_text(world.file.read_text().replace('"name": "ci"', '"name": "cj"'))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(world.file)
    world.guard.reread()
    with pytest.raises(Forbidden, match="'cj'"):
        world.guard.check(header, MANAGE)


def test_a_bad_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="trtserve tokens add"):
        Guard(tmp_path / "missing")


# -- what is kept and counted


def test_what_clients_without_a_token_send_is_not_kept(world: World) -> None:
    header = world.added()
    world.guard.check(header, INFER)
    for number in range(2 * KEPT):
        with pytest.raises(Unauthenticated):
            world.guard.check(b"Bearer trtserve_%08x_x" % number, INFER)
    assert world.guard.may_infer(header, "x")


def test_the_ways_in_which_a_token_is_written_take_bounded_room(world: World) -> None:
    token = world.added().removeprefix(b"Bearer ")
    for number in range(2 * KEPT):
        world.guard.check(b"Bearer" + b" " * number + b" " + token, INFER)
    kept = [n for n in range(2 * KEPT) if world.guard.may_infer(b"Bearer" + b" " * n + b" " + token, "x")]
    assert 0 < len(kept) <= KEPT


def test_refusals_are_counted_by_reason(world: World) -> None:
    limited = world.added(engines=("a",), expires=NOW + timedelta(hours=1))
    asked = [
        (None, INFER, "missing"),
        (b"Bearer x", INFER, "unknown"),
        (limited, MANAGE, "scope"),
        (limited, INFER, "engine"),
    ]
    for header, need, _ in asked:
        with pytest.raises((Unauthenticated, Forbidden)):
            world.guard.check(header, need, "b")
    world.now += timedelta(hours=1)
    with pytest.raises(Unauthenticated):
        world.guard.check(limited, INFER, "a")
    assert world.guard.refused == dict.fromkeys(REASONS, 1)


def test_the_table_is_about_engines_that_a_parameter_of_it_names() -> None:
    for route, need in ROUTES.items():
        if need.about not in {None, ALL} and "{" in route and not route.endswith("/engines"):
            assert f"{{{need.about}}}" in route, route
    assert all(need.open or need.scopes for need in (*ROUTES.values(), *METHODS.values()))
