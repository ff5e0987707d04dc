"""Files that a store sets aside, and its reserve file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trtserve.store.reserve import LEAST_BYTES, Reserve
from trtserve.store.set_aside import SetAside


def file(path: Path) -> None:
    path.write_text("another")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("there", [file, Path.mkdir, dangling, os.mkfifo])
def test_setting_a_file_aside_never_overwrites_another(tmp_path: Path, there: Callable[[Path], None]) -> None:
    aside = SetAside(tmp_path)
    aside.folder.mkdir()
    there(aside.folder / "a.plan")
    mode = (aside.folder / "a.plan").lstat().st_mode
    for number in (2, 3):
        (tmp_path / "a.plan").write_text(f"number {number}")
        place = aside.take(tmp_path / "a.plan")
        assert (place.name, place.read_text()) == (f"a.plan.{number}", f"number {number}")
    assert (aside.folder / "a.plan").lstat().st_mode == mode
    assert len(aside.entries()) == 3


@pytest.mark.parametrize("odd", [file, Path.mkdir, dangling, os.mkfifo])
def test_objects_of_every_kind_are_set_aside(tmp_path: Path, odd: Callable[[Path], None]) -> None:
    aside = SetAside(tmp_path)
    odd(tmp_path / "a")
    aside.take_if_there(tmp_path / "a")
    aside.take_if_there(tmp_path / "a")
    assert [path.name for path in aside.entries()] == ["a"]
    assert aside.size() >= 0


def test_the_size_of_the_files_set_aside_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aside = SetAside(tmp_path)
    aside.warn()
    assert caplog.messages == []
    (tmp_path / "a.plan").write_bytes(bytes(2_500_000))
    aside.take(tmp_path / "a.plan")
    aside.warn()
    assert f"1 files (2.5 MB) are set aside in {tmp_path / 'set-aside'}" in caplog.text
    assert "trtserve store check" in caplog.text


@pytest.mark.parametrize("odd", [Path.mkdir, os.mkfifo])
def test_there_is_no_reserve_if_its_place_is_taken(tmp_path: Path, odd: Callable[[Path], None]) -> None:
    odd(tmp_path / "RESERVE")
    assert not Reserve(tmp_path / "RESERVE").hold()


def test_the_reserve_is_never_a_link_to_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "RESERVE").symlink_to("elsewhere")
    Reserve(tmp_path / "RESERVE").hold()
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert Reserve(tmp_path / "RESERVE").hold()
    assert (tmp_path / "RESERVE").lstat().st_size >= LEAST_BYTES
