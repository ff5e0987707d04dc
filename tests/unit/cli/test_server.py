"""Commands about a server and its models, with JSON for programs."""

import json
import logging
from pathlib import Path

import numpy as np

from tests.unit.cli.running import trtserve


def test_lists_are_json_for_programs(url: str, plan: Path) -> None:
    added = json.loads(trtserve("engines", "add", plan, "--name", "net", "--json", "--server", url).stdout)
    (listed,) = json.loads(trtserve("engines", "ls", "--json", "--server", url).stdout)
    assert listed["id"] == added["id"]
    (name,) = json.loads(trtserve("names", "ls", "--json", "--server", url).stdout)
    assert (name["name"], name["current"]) == ("net", 1)
    assert json.loads(trtserve("names", "set", "net", "1", "--json", "--server", url).stdout) == name


def test_an_engine_that_names_share_is_listed_with_all_of_them(url: str, plan: Path) -> None:
    for name in ("net", "alias"):
        trtserve("engines", "add", plan, "--name", name, "--server", url)
    _, row = trtserve("engines", "ls", "--server", url).stdout.splitlines()
    assert "alias, net  1, 1" in row


def test_a_model_is_unloaded_loaded_and_reloaded(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)

    def state() -> str:
        return str(json.loads(trtserve("engines", "show", "net", "--server", url).stdout)["state"])

    assert trtserve("unload", "net", "--server", url).stdout == "Unloaded net.\n"
    assert state() == "UNLOADED"
    assert trtserve("load", "net", "--server", url).stdout == "Loaded net.\n"
    assert state() == "READY"
    assert trtserve("reload", "net", "--server", url).stdout == "Loaded net again.\n"
    assert state() == "READY"


def test_options_are_set_while_the_engine_serves(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--instances", "2", "--server", url)
    told = trtserve(
        "engines", "set", "net", "--max-queue-size", "9", "--default", "instances", "--server", url
    )
    assert told.stdout.endswith(" is READY, with max_queue_size, instances as asked for.\n")
    shown = json.loads(trtserve("engines", "show", "net", "--server", url).stdout)
    assert (shown["max_queue_size"], shown["change"]["options"]["max_queue_size"]) == (9, 9)
    nothing = trtserve("engines", "set", "net", "--server", url)
    assert nothing.exit_code == 2
    assert "what is to change?" in nothing.output


def test_stats_count_the_requests_of_a_model(url: str, plan: Path, tmp_path: Path) -> None:
    trtserve("engines", "add", plan, "--name", "net", "--server", url)
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    trtserve("infer", "net", "--input", f"x={tmp_path / 'x.npy'}", "--server", url)
    header, row = trtserve("stats", "net", "--server", url).stdout.splitlines()
    assert header.split()[:4] == ["name", "version", "requests", "failed"]
    assert row.split()[:2] == ["net", "1"]
    (found,) = json.loads(trtserve("stats", "--json", "--server", url).stdout)
    assert str(found["inference_stats"]["success"]["count"]) == row.split()[2]


def test_status_tells_whether_the_server_is_ready(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--server", url)
    shown = trtserve("status", "--server", url)
    assert (shown.exit_code, shown.stdout) == (0, "Ready\nEngines: 1 READY\n")
    told = json.loads(trtserve("status", "--json", "--server", url).stdout)
    assert (told["ready"], told["engines"]) == (True, {"READY": 1})


def test_version_is_the_servers(url: str) -> None:
    told = json.loads(trtserve("version", "--json", "--server", url).stdout)
    assert told["trtserve"] in trtserve("version", "--server", url).stdout


def test_logs_are_the_servers_last_lines(url: str) -> None:
    trtserve("status", "--server", url)  # it has started
    logging.getLogger("trtserve.tested").warning("the first")
    logging.getLogger("trtserve.tested").error("the last")
    (line,) = json.loads(trtserve("logs", "--json", "--level", "error", "--server", url).stdout)
    assert (line["level"], line["message"]) == ("error", "the last")
    assert "WARNING trtserve.tested: the first" in trtserve("logs", "--server", url).stdout
    (last,) = trtserve("logs", "--lines", "1", "--server", url).stdout.splitlines()
    assert last.endswith("ERROR   trtserve.tested: the last")
