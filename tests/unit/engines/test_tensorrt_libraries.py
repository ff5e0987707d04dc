"""The libraries of TensorRT that a server is started with: how they are given, and the refusal of wrong
ones."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime_ext.backends import TensorRtOptions
from trtserve.cli.main import main
from trtserve.engines.seam_options import check_tensorrt_libraries, tensorrt_options
from trtserve.errors import InvalidInput
from trtserve.settings import Settings

SETTING = "--tensorrt-library (TRTSERVE_TENSORRT_LIBRARY)"
BUILT = ["openvino", "tensorrt11", "tensorrt8"]


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("/a/nv.so.8", ["/a/nv.so.8"]),
        ("/a/nv.so.8:/b/nv.so.11", ["/a/nv.so.8", "/b/nv.so.11"]),
        (":/a/nv.so.8::/b/nv.so.11:", ["/a/nv.so.8", "/b/nv.so.11"]),
        ("", []),
    ],
)
def test_the_environment_lists_libraries_separated_by_colons(
    monkeypatch: pytest.MonkeyPatch, given: str, paths: list[str]
) -> None:
    monkeypatch.setenv("TRTSERVE_TENSORRT_LIBRARY", given)
    assert tensorrt_options(Settings()).libraries == tuple(map(Path, paths))


@pytest.mark.parametrize("setting", ["tensorrt_library", "tensorrt_plugins"])
def test_an_option_that_lists_paths_may_be_given_repeatedly(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr("trtserve.server.process.serve", lambda settings: started.append(settings) or True)
    option = f"--{setting.replace('_', '-')}"
    for options in (
        [option, "/a:/b"],
        [option, "/a", option, "/b"],
        [option, "/a", option, "", option, "/b"],
    ):
        assert CliRunner().invoke(main, ["serve", *options]).exit_code == 0
    assert [getattr(settings, setting).replace("::", ":") for settings in started] == ["/a:/b"] * 3
    assert CliRunner().invoke(main, ["serve"], env={f"TRTSERVE_{setting.upper()}": "/c"}).exit_code == 0
    assert getattr(started[-1], setting) == "/c"


def checked(backends: list[str], *libraries: Path) -> None:
    check_tensorrt_libraries(TensorRtOptions(libraries), backends)


def test_libraries_for_what_was_built_are_accepted(tmp_path: Path) -> None:
    libraries = [tmp_path / name for name in ("a.so.8", "b.so.8.6.1", "b.so.11", "no_version.so")]
    for library in libraries:
        library.touch()
    checked(BUILT, *libraries, Path("libnvinfer.so.11"))  # the last is found by the system's loader
    checked(["openvino"])


def test_a_library_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.so.8").touch()
    with pytest.raises(InvalidInput) as refused:
        checked(BUILT, tmp_path / "a.so.8", tmp_path / "b.so.11")
    assert str(refused.value) == f"{SETTING} names {tmp_path}/b.so.11, which does not exist."


@pytest.mark.parametrize(
    ("backends", "name", "told"),
    [
        (
            BUILT,
            "nv.so.10",
            ", a library of TensorRT 10; this server runs TensorRT 8 and 11: leave it out, or build the "
            'server with the headers of TensorRT 10 as well (README, "On a GPU").',
        ),
        (
            ["openvino"],
            "nv.so.11",
            ", a library of TensorRT 11; this server was built without TensorRT: leave it out, or build the "
            'server with the headers of TensorRT 11 as well (README, "On a GPU").',
        ),
        (
            ["openvino"],
            "nv.so",
            "; this server was built without TensorRT: leave it out, or build the server with the headers of "
            'that TensorRT as well (README, "On a GPU").',
        ),
    ],
    ids=["another version", "no TensorRT", "no TensorRT, no version"],
)
def test_a_library_that_nothing_built_opens_is_refused(
    tmp_path: Path, backends: list[str], name: str, told: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InvalidInput) as refused:
        checked(backends, tmp_path / name)
    assert str(refused.value) == f"{SETTING} names {tmp_path}/{name}{told}"


@pytest.mark.parametrize("command", [["serve"], ["tune", "model.onnx"]])
def test_no_server_starts_with_a_library_that_does_not_exist(tmp_path: Path, command: list[str]) -> None:
    environment = {
        "TRTSERVE_TENSORRT_LIBRARY": "/nowhere/nv.so.11",
        "TRTSERVE_STORE": str(tmp_path / "store"),
    }
    ended = CliRunner().invoke(main, command, env=environment)
    assert ended.exit_code == 1
    assert ended.output == f"Error: {SETTING} names /nowhere/nv.so.11, which does not exist.\n"
    assert not (tmp_path / "store").exists()
