"""A short time of chaos; `make chaos` goes on for as long as one likes, and fills a disk too."""

from pathlib import Path

from tests.chaos.__main__ import run

SECONDS = 20  # then the fault under way ends


def test_no_answer_is_wrong_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    world, done = run(tmp_path, SECONDS, seed=1, per_kind=1)
    assert not world.wrong, "\n".join(world.wrong)
    assert done.total() >= 1
    for way in ("HTTP", "gRPC", "streams", "shared memory"):
        assert world.tally[f"answers over {way}"] > 0, way
