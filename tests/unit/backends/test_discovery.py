"""Where the server looks for TensorRT's library, with fake installed packages."""

import sys
from pathlib import Path

import pytest

from runtime_ext.backends import TensorRtOptions
from runtime_ext.backends.discovery import openvino_libraries, tensorrt_candidates


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of installed packages; it is empty."""
    for package in ("openvino", "tensorrt_libs", "tensorrt_lean_libs"):  # an imported module is found at once
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    # Editable installs have their own finders.
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if isinstance(finder, type)])
    return tmp_path


def install(site: Path, package: str, *files: str) -> list[str]:
    """Install a package that must not be imported; return the paths of its files."""
    folder = site / package
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    return [str(folder / file) for file in files]


SONAMES = {major: [f"libnvinfer.so.{major}", f"libnvinfer_lean.so.{major}"] for major in (8, 11)}


def test_each_generation_looks_for_its_own_library(site: Path) -> None:
    old = install(site, "tensorrt", "libnvinfer.so.8", "libnvonnxparser.so.8")
    new = install(site, "tensorrt_libs", "libnvinfer.so.11", "libnvinfer.so.10")
    assert tensorrt_candidates((), 8) == [old[0], *SONAMES[8]]
    assert tensorrt_candidates((), 11) == [new[0], *SONAMES[11]]


@pytest.mark.parametrize(
    ("configured", "candidates"),
    [
        ("/a/libnvinfer.so.11", {8: SONAMES[8], 11: ["/a/libnvinfer.so.11"]}),
        (
            "/a/libnvinfer.so.11 /a/libnvinfer.so.8.5.3",
            {8: ["/a/libnvinfer.so.8.5.3"], 11: ["/a/libnvinfer.so.11"]},
        ),
        (
            "/b/libnvinfer.so.11 /a/libnvinfer_lean.so.11.4",
            {8: SONAMES[8], 11: ["/b/libnvinfer.so.11", "/a/libnvinfer_lean.so.11.4"]},
        ),
        ("/a/nv.so", {8: ["/a/nv.so"], 11: ["/a/nv.so"]}),
        ("/a/nv.so /a/nv.so.11", {8: ["/a/nv.so"], 11: ["/a/nv.so", "/a/nv.so.11"]}),
        ("/so.8/nv.so.11", {8: SONAMES[8], 11: ["/so.8/nv.so.11"]}),
        ("/a/nv.so.1", {1: ["/a/nv.so.1"], 11: SONAMES[11]}),
    ],
    ids=["one", "one each", "two of one", "no version", "one without a version", "folder", "digits"],
)
def test_configured_libraries_are_the_only_candidates_of_their_generation(
    site: Path, configured: str, candidates: dict[int, list[str]]
) -> None:
    libraries = tuple(map(Path, configured.split()))
    assert {major: tensorrt_candidates(libraries, major) for major in candidates} == candidates


def test_without_a_package_the_system_loader_is_used(site: Path) -> None:
    assert tensorrt_candidates((), 11) == SONAMES[11]


def test_the_full_library_comes_before_the_lean_one_and_packages_before_the_system(site: Path) -> None:
    lean = install(site, "tensorrt_lean_libs", "libnvinfer_lean.so.11")
    full = install(site, "tensorrt_libs", "libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvinfer.so")
    assert tensorrt_candidates((), 11) == [full[0], *lean, *SONAMES[11]]


def test_a_package_without_the_library_is_skipped(site: Path) -> None:
    install(site, "tensorrt_libs", "libnvinfer_builder_resource.so.11")
    (site / "tensorrt_lean_libs.py").touch()  # a module, not a package
    assert tensorrt_candidates((), 11) == SONAMES[11]


def test_openvinos_library_is_found_in_its_package(site: Path) -> None:
    assert openvino_libraries() == []
    library, _ = install(site, "openvino", "libs/libopenvino.so.2620", "libs/libopenvino_c.so.2620")
    assert openvino_libraries() == [library]


def test_the_backend_gets_one_path_per_line(site: Path) -> None:
    plugins = (Path("/p/a.so"), Path("/p/b.so"))
    options = TensorRtOptions(
        libraries=(Path("/opt/nv.so"), Path("/opt/b.so.11")), plugins=plugins, allow_host_code=True
    )
    assert options.config(11) == {
        "libraries": "/opt/nv.so\n/opt/b.so.11",
        "plugins": "/p/a.so\n/p/b.so",
        "allow_host_code": "1",
        "spin": "",
    }
    assert TensorRtOptions().config(11) == {
        "libraries": "\n".join(SONAMES[11]),
        "plugins": "",
        "allow_host_code": "",
        "spin": "",
    }
