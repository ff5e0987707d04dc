"""The file of tokens: what is refused, and that a change is whole."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trtserve.access import token_file
from trtserve.access.scopes import Scope
from trtserve.errors import Conflict, InvalidInput, NotFound

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def added(file: Path, name: str = "ci", **options: Any) -> str:
    given: dict[str, Any] = {"scopes": [Scope.INFER], "engines": ["*"], "expires": None} | options
    return token_file.add(file, name, now=NOW, **given)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_random_and_only_its_hash_is_kept(file: Path) -> None:
    tokens = {added(file, name) for name in ("a", "b")}
    assert len(tokens) == 2
    for token in tokens:
        assert len(token.split("_", 2)[2]) == 43  # 256 bits in base64
        assert token not in file.read_text()
        assert token.split("_", 2)[2] not in file.read_text()
        parts = token_file.parts(token.encode())
        assert parts is not None
        (found,) = (each for each in token_file.read(file) if each.id == parts.id)
        assert found.sha256 == parts.digest.hex()


def test_the_file_is_for_its_owner_alone_whatever_the_umask(file: Path) -> None:
    before = os.umask(0)
    try:
        added(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        os.umask(0o777)
        added(file, "other")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert list(file.parent.iterdir()) == [file]


def test_what_a_token_allows_is_read_as_it_was_added(file: Path) -> None:
    until = NOW + timedelta(days=1)
    added(file, scopes=[Scope.METRICS, Scope.INFER], engines=["team-a-*", "x"], expires=until)
    (token,) = token_file.read(file)
    assert token.scopes == [Scope.INFER, Scope.METRICS]
    assert (token.name, token.engines, token.created, token.expires) == ("ci", ["team-a-*", "x"], NOW, until)


def test_a_name_is_given_once(file: Path) -> None:
    added(file)
    before = file.read_bytes()
    with pytest.raises(Conflict, match="'ci' already"):
        added(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "wrong", [{"name": "a b"}, {"name": ""}, {"engines": ["a b"]}, {"engines": [""]}, {"engines": ["a/b"]}]
)
def test_what_cannot_be_a_name_or_a_pattern_is_refused_and_nothing_is_written(
    file: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match=r"name|engines"):
        added(file, **wrong)
    assert not file.exists()


def test_a_token_is_removed_by_its_name(file: Path) -> None:
    added(file, "a")
    added(file, "b")
    token_file.remove(file, "a")
    assert [token.name for token in token_file.read(file)] == ["b"]
    with pytest.raises(NotFound, match="there are: b"):
        token_file.remove(file, "a")


def test_changes_at_the_same_time_lose_nothing(file: Path) -> None:
    names = [f"token-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: added(file, name), names))
    assert sorted(token.name for token in token_file.read(file)) == sorted(names)
    assert list(file.parent.iterdir()) == [file]


def test_a_link_leads_to_the_file_that_is_changed(file: Path, tmp_path: Path) -> None:
    added(file)
    link = tmp_path / "link"
    link.symlink_to(file)
    added(link, "other")
    assert link.is_symlink()
    assert [token.name for token in token_file.read(file)] == ["ci", "other"]


def test_a_change_that_cannot_be_written_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(file)
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidInput, match="No space left"):
        added(file, "other")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


# -- files that are refused


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_read_or_change_is_refused(file: Path, mode: int) -> None:
    added(file)
    file.chmod(mode)
    with pytest.raises(InvalidInput, match=f"mode {mode:04o}, so others .* chmod 600"):
        token_file.read(file)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_file_that_the_servers_group_can_read_is_accepted(file: Path, mode: int) -> None:
    added(file)
    file.chmod(mode)
    assert len(token_file.read(file)) == 1


TOKEN = {
    "name": "ci",
    "id": "0a1b2c3d",
    "sha256": "0" * 64,
    "scopes": ["infer"],
    "engines": ["*"],
    "created": "2026-01-31T12:00:00Z",
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"version": 1}', "tokens: Field required"),
        ('{"version": 2, "tokens": []}', "version"),
        (json.dumps({"version": 1, "tokens": [TOKEN | {"scopes": ["admin"]}]}), "tokens.0.scopes.0"),
        (json.dumps({"version": 1, "tokens": [TOKEN | {"scopes": []}]}), "tokens.0.scopes"),
        (json.dumps({"version": 1, "tokens": [TOKEN | {"engines": []}]}), "tokens.0.engines"),
        (json.dumps({"version": 1, "tokens": [TOKEN | {"sha256": "secret"}]}), "tokens.0.sha256"),
        (json.dumps({"version": 1, "tokens": [TOKEN | {"more": 1}]}), "tokens.0.more"),
        (json.dumps({"version": 1, "tokens": [TOKEN | {"expires": "2027-01-01T00:00:00"}]}), "expires"),
        (json.dumps({"version": 1, "tokens": [TOKEN, TOKEN]}), "name 'ci' twice"),
        (json.dumps({"version": 1, "tokens": [TOKEN, TOKEN | {"name": "b"}]}), "id '0a1b2c3d' twice"),
    ],
)
def test_a_malformed_file_is_refused_with_the_place_of_its_fault(file: Path, content: str, said: str) -> None:
    file.touch(0o600)
    file.write_text(content)
    with pytest.raises(InvalidInput, match=str(file)) as refused:
        token_file.read(file)
    assert said in str(refused.value)


def test_a_refusal_does_not_repeat_what_may_be_a_token(file: Path) -> None:
    file.touch(0o600)
    file.write_text(json.dumps({"version": 1, "tokens": [TOKEN | {"sha256": "trtserve_0a1b2c3d_hunter2"}]}))
    with pytest.raises(InvalidInput) as refused:
        token_file.read(file)
    assert "hunter2" not in str(refused.value)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, said in (("missing", "No such file"), (".", "s a directory"), ("pipe", "is not a file")):
        with pytest.raises(InvalidInput, match=said):
            token_file.read(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"trtserve", b"trtserve_", b"trtserve_0a1b2c3d", b"trtserve_0a1b2c3d_", b"other_0a1b2c3d_x"],
)
def test_what_has_not_the_form_of_a_token_has_no_parts(text: bytes) -> None:
    assert token_file.parts(text) is None
