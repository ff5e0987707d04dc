"""The committed files of the console are what its sources build, and its parts without a page work."""

import gzip
from pathlib import Path

from console.build import BUILT, SOURCES, build, install, node


def files(folder: Path) -> dict[str, bytes]:
    """What files hold, by their paths; of a .gz what it unpacks to, as another zlib writes other bytes."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        path: gzip.decompress(content) if path.endswith(".gz") else content for path, content in found.items()
    }


def test_the_committed_files_are_the_build_of_the_sources(tmp_path: Path) -> None:
    build(tmp_path / "built")
    anew = files(tmp_path / "built")
    assert anew.keys() == files(BUILT).keys(), "run: make console"
    assert anew == files(BUILT), "run: make console"


def test_the_parts_without_a_page_work() -> None:
    install()
    node("--test", "--test-reporter=dot", *(str(path) for path in sorted((SOURCES / "tests").glob("*.ts"))))
