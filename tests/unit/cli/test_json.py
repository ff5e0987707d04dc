"""Every command that prints data prints it as JSON for programs."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.cli.running import trtserve
from tests.unit.stores import add
from trtserve.cli.main import main
from trtserve.store.store import Store

DOES = {"serve", "build", "compile", "tokens rm", "engines rm", "load", "unload", "reload"}
"""Commands that do something, and say so in a sentence."""


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_has_the_flag_but_those_that_print_no_data() -> None:
    without = {
        name for name, command in commands(main) if not any("--json" in p.opts for p in command.params)
    }
    assert without == DOES


def test_what_is_json_in_any_case_takes_the_flag_too(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    for kind in ("engines", "names"):
        plain = trtserve(kind, "show", "net", "--server", url).stdout
        assert json.loads(trtserve(kind, "show", "net", "--json", "--server", url).stdout) == json.loads(
            plain
        )


def test_tokens_are_json(tmp_path: Path) -> None:
    where = ("--token-file", tmp_path / "tokens.json")
    added = trtserve("tokens", "add", "ci", "--scope", "infer", "--expires", "1d", "--json", *where)
    told = json.loads(added.stdout)
    assert (told["name"], added.stderr) == ("ci", "")
    (listed,) = json.loads(trtserve("tokens", "ls", "--json", *where).stdout)
    assert (listed["name"], listed["scopes"], listed["engines"]) == ("ci", ["infer"], ["*"])
    assert listed["created"] < listed["expires"]
    assert "sha256" not in listed
    assert f"_{listed['id']}_" in told["token"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A stopped store with an engine, and with a file that is set aside."""
    store = Store(tmp_path / "store")
    add(store, 1, "net")
    store.close()
    (tmp_path / "store" / "plans" / f"{'0' * 64}.plan").write_bytes(b"half a plan")
    Store(tmp_path / "store").close()  # a start sets it aside
    return tmp_path / "store"


def test_what_is_wrong_with_a_store_is_json(root: Path) -> None:
    clean = trtserve("store", "check", "--json", "--store", root)
    assert clean.exit_code == 0
    assert json.loads(clean.stdout)["repaired"] == []
    (plan,) = (root / "plans").iterdir()
    plan.unlink()
    broken = trtserve("store", "check", "--json", "--store", root)
    assert broken.exit_code == 1
    (wrong,) = [one for one in json.loads(broken.stdout)["left"] if one["wrong"]]
    assert "No such file" in wrong["told"]


def test_a_backup_says_what_it_has_as_json(root: Path, tmp_path: Path) -> None:
    done = json.loads(trtserve("store", "backup", tmp_path / "copy", "--json", "--store", root).stdout)
    assert done == {
        "target": str(tmp_path / "copy"), "engines": 1, "size": len(onnx_plan(1)), "damaged": [],
    }  # fmt: skip


def test_leftovers_are_json(root: Path) -> None:
    (found,) = json.loads(trtserve("store", "gc", "--json", "--store", root).stdout)
    assert (found["bytes"], found["deleted"]) == (len(b"half a plan"), False)
    deleted = json.loads(trtserve("store", "gc", "--delete", "--json", "--store", root).stdout)
    assert deleted == [found | {"deleted": True}]
    assert json.loads(trtserve("store", "gc", "--json", "--store", root).stdout) == []
