"""The file that says what a store has taken from a folder of models."""

from pathlib import Path

import pytest

from trtserve.errors import Unavailable
from trtserve.store.served_folder import FEW_BYTES, ServedFile, ServedFolder, ServedModel, ServedVersion


def model(number: int) -> ServedModel:
    return ServedModel(config=f"stamp {number}", versions={1: ServedVersion(engine=number, stamp="s")})


def write(file: ServedFile, name: str, given: ServedModel | None) -> None:
    file.write(name, given and given.model_dump_json())


def read(root: Path) -> dict[str, ServedModel]:
    return ServedFile(root).read().models


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder.json"


def test_a_later_word_on_a_model_counts(tmp_path: Path) -> None:
    file = ServedFile(tmp_path)
    for name, given in (("a", model(1)), ("é\n", model(2)), ("a", model(3)), ("é\n", None), ("b", model(4))):
        write(file, name, given)
    assert read(tmp_path) == {"a": model(3), "b": model(4)}


def test_a_change_of_one_model_among_many_writes_that_model_alone(tmp_path: Path, path: Path) -> None:
    file = ServedFile(tmp_path)
    for number in range(50):
        write(file, f"net{number}", model(number))
    before = path.read_bytes()
    write(file, "net7", model(70))
    after = path.read_bytes()
    assert after.startswith(before)
    assert after[len(before) :].count(b"net") == 1


def test_what_is_as_it_was_is_not_written_again(tmp_path: Path, path: Path) -> None:
    file = ServedFile(tmp_path)
    write(file, "net", model(1))
    before = path.stat()
    write(file, "net", model(1))
    write(file, "other", None)
    assert path.stat() == before


def test_the_file_stays_within_twice_what_it_says(tmp_path: Path, path: Path) -> None:
    file, lengths = ServedFile(tmp_path), []
    for number in range(3000):
        write(file, "net", model(number))
        lengths.append(path.stat().st_size)
    assert max(lengths) <= 2 * FEW_BYTES
    assert read(tmp_path) == {"net": model(2999)}


def test_what_a_kill_tore_off_is_not_read_and_the_next_change_mends_it(tmp_path: Path, path: Path) -> None:
    file = ServedFile(tmp_path)
    write(file, "a", model(1))
    whole = path.stat().st_size
    write(file, "b", model(2))
    written = path.read_bytes()
    for end in range(whole, len(written)):
        path.write_bytes(written[:end])
        again = ServedFile(tmp_path)
        assert again.read().models == {"a": model(1)}
        write(again, "c", model(3))
        assert read(tmp_path) == {"a": model(1), "c": model(3)}


def test_what_a_former_version_wrote_is_read(tmp_path: Path, path: Path) -> None:
    path.write_text(ServedFolder(models={"a": model(1)}).model_dump_json())
    file = ServedFile(tmp_path)
    assert file.read().models == {"a": model(1)}
    write(file, "b", model(2))
    assert read(tmp_path) == {"a": model(1), "b": model(2)}


@pytest.mark.parametrize("wrong", ["", "{", "[]", '{"models": {}}\n{"models": 1}\n', "\n"])
def test_a_damaged_file_is_told(tmp_path: Path, path: Path, wrong: str) -> None:
    path.write_text(wrong)
    with pytest.raises(Unavailable, match=r"folder.json.*cannot be read: it is damaged"):
        ServedFile(tmp_path).read()


def test_a_change_that_could_not_be_written_is_written_with_the_next(tmp_path: Path, path: Path) -> None:
    file = ServedFile(tmp_path)
    write(file, "a", model(1))
    path.unlink()
    path.mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        write(file, "b", model(2))
    path.rmdir()
    write(file, "a", model(1))
    assert read(tmp_path) == {"a": model(1), "b": model(2)}


def test_what_a_successor_wrote_is_written_over_by_a_server_that_goes_on(tmp_path: Path) -> None:
    file, successor = ServedFile(tmp_path), ServedFile(tmp_path)
    write(file, "a", model(1))
    file.rest(lambda: Unavailable("it rests"))
    with pytest.raises(Unavailable, match="it rests"):
        write(file, "a", model(1))
    successor.read()
    write(successor, "b", model(2))
    file.resume()
    write(file, "a", model(1))
    assert read(tmp_path) == {"a": model(1)}
