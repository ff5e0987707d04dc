"""What the benchmark says about a server's garbage collection."""

import subprocess
from pathlib import Path

from bench import pauses
from bench.pauses import Pause


def test_a_watched_server_writes_its_collections_when_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "collections.json"
    subprocess.run([*pauses.command(file), "--help"], check=True, capture_output=True)
    collections = pauses.read(file)
    assert collections
    assert all(each.generation in range(3) and each.wall_us > 0 for each in collections)


def test_young_collections_are_told_apart_from_full_ones() -> None:
    longest = pauses.summary([Pause(0, 1, 90, 60), Pause(1, 2, 70, 65), Pause(2, 3, 900, 800)])
    assert (longest["young"], longest["young_us"], longest["young_wall_us"]) == (2, 65, 90)
    assert (longest["full"], longest["full_us"], longest["full_wall_us"]) == (1, 800, 900)


def test_a_load_without_a_collection_has_no_pause() -> None:
    assert set(pauses.summary([]).values()) == {0}
