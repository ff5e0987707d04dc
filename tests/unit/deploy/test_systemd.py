"""systemd accepts the unit, and finds little that the service could do beyond its work."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy.rendering import DEPLOY
from trtserve.settings import Settings

UNIT = DEPLOY / "systemd" / "trtserve.service"
GPU = DEPLOY / "systemd" / "gpu.conf"
EXPOSURE = 20  # tenths, of 100: systemd calls anything below 50 MEDIUM or better, below 20 OK


def analyze(*arguments: str) -> str:
    found = shutil.which("systemd-analyze")
    assert found is not None, "systemd-analyze is missing: on Debian, apt-get install systemd"
    ended = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture
def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a command that exists here."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/trtserve/bin/trtserve", shutil.which("true") or ""))
    return path


@pytest.mark.parametrize("drop_in", [False, True])
def test_systemd_accepts_the_unit(installed: Path, drop_in: bool) -> None:
    if drop_in:
        folder = installed.with_suffix(".service.d")
        folder.mkdir()
        shutil.copy(GPU, folder)
    assert analyze("verify", "--man=no", str(installed)) == ""


def test_systemd_finds_little_exposed(installed: Path) -> None:
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", str(installed))


def test_a_draining_server_is_not_killed(unit: configparser.SectionProxy) -> None:
    assert float(unit["TimeoutStopSec"]) > 2 * float(Settings.model_fields["drain_s"].default)


def test_the_store_is_the_folder_that_the_server_may_write(unit: configparser.SectionProxy) -> None:
    variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT.read_text(), re.M))
    assert variables == {"TRTSERVE_STORE": f"/var/lib/{unit['StateDirectory']}"}
    assert unit["ProtectSystem"] == "strict"


def test_the_end_of_a_trial_for_want_of_memory_does_not_end_the_server(
    unit: configparser.SectionProxy,
) -> None:
    assert unit["OOMPolicy"] == "continue"


def test_the_server_can_read_how_much_memory_there_is(unit: configparser.SectionProxy) -> None:
    assert "ProcSubset" not in unit
    assert "MemoryDenyWriteExecute" not in unit


def test_a_reload_is_a_warm_restart_whose_new_process_may_speak_to_systemd(
    unit: configparser.SectionProxy,
) -> None:
    assert unit["ExecReload"].split()[1:] == ["-USR2", "$MAINPID"]
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "all")
