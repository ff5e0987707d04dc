"""`trtserve tokens`, and the commands that send a token."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trtserve.access import token_file
from trtserve.cli.main import main


def tokens(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["tokens", *arguments], env={"TRTSERVE_TOKEN_FILE": str(file)})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_printed_once_and_alone(file: Path) -> None:
    added = tokens(file, "add", "ci", "--scope", "infer", "--scope", "metrics", "--engines", "a-*")
    assert added.exit_code == 0, added.output
    token = added.stdout.removesuffix("\n")
    assert token_file.parts(token.encode()) is not None
    assert "\n" not in token
    assert "Bearer" in added.stderr
    assert token not in file.read_text()
    assert token not in tokens(file, "ls").output


def test_tokens_are_listed_with_what_they_allow(file: Path) -> None:
    tokens(file, "add", "a", "--scope", "infer")
    tokens(file, "add", "b", "--scope", "manage", "--engines", "x", "--engines", "y*", "--expires", "12h")
    heads, first, second = tokens(file, "ls").stdout.splitlines()
    assert heads.split() == ["name", "id", "scopes", "engines", "created", "expires"]
    assert first.split()[2:4] + first.split()[5:] == ["infer", "*", "never"]
    assert second.split()[2:4] == ["manage", "x,y*"]
    assert second.endswith("Z")


def test_a_removed_token_is_gone(file: Path) -> None:
    tokens(file, "add", "a", "--scope", "infer")
    assert tokens(file, "rm", "a").exit_code == 0
    assert token_file.read(file) == []
    missing = tokens(file, "rm", "a")
    assert missing.exit_code == 1
    assert "There is no token 'a'; there are: none." in missing.stderr


@pytest.mark.parametrize("given", ["2000-01-01", "0d", "12x", "tomorrow", "-1d", "2026-13-01"])
def test_a_time_that_is_over_or_is_none_is_refused(file: Path, given: str) -> None:
    refused = tokens(file, "add", "a", "--scope", "infer", "--expires", given)
    assert refused.exit_code == 2
    assert repr(given) in refused.stderr
    assert not file.exists()


@pytest.mark.parametrize("given", ["90d", "4w", "2999-01-31", "2999-01-31T12:00Z", "2999-01-31T12:00+02:00"])
def test_a_time_to_come_is_kept(file: Path, given: str) -> None:
    added = tokens(file, "add", "a", "--scope", "infer", "--expires", given)
    assert added.exit_code == 0, added.output
    (token,) = token_file.read(file)
    assert token.expires is not None


def test_a_token_without_a_scope_and_a_command_without_a_file_are_refused(file: Path) -> None:
    assert tokens(file, "add", "a").exit_code == 2
    assert tokens(file, "add", "a", "--scope", "root").exit_code == 2
    without = CliRunner().invoke(main, ["tokens", "ls"], env={"TRTSERVE_TOKEN_FILE": ""})
    assert without.exit_code == 2
    assert "--token-file" in without.stderr


def test_a_file_that_cannot_be_used_is_told_in_a_sentence(file: Path) -> None:
    for arguments in (["ls"], ["rm", "a"]):
        refused = tokens(file, *arguments)
        assert refused.exit_code == 1
        assert f"The token file {file} cannot be read" in refused.stderr
