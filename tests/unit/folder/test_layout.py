"""What models a folder has."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from trtserve.errors import InvalidInput, TooLarge, Unavailable
from trtserve.folder import files
from trtserve.folder.files import Entry, LocalFiles, open_files, read_small
from trtserve.folder.layout import FoundModel, look, stamp_now
from trtserve.folder.model_config import FolderConfig


def write(path: Path, content: bytes = b"plan") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(root: Path) -> dict[str, FoundModel]:
    return look(open_files(str(root)))


def test_a_model_has_a_config_and_versions(tmp_path: Path) -> None:
    write(tmp_path / "net" / "config.pbtxt")
    write(tmp_path / "net" / "1" / "model.onnx")
    write(tmp_path / "net" / "12" / "model.plan")
    model = found(tmp_path)["net"]
    assert model.config is not None
    assert sorted(model.versions) == [1, 12]
    file = model.file(12, FolderConfig())
    assert (list(file.path), file.size) == (["net", "12", "model.plan"], 4)


def test_a_file_is_a_model_without_versions(tmp_path: Path) -> None:
    write(tmp_path / "net.onnx")
    write(tmp_path / "other.v2.plan")
    write(tmp_path / "README.md")
    models = found(tmp_path)
    assert sorted(models) == ["net", "other.v2"]
    assert list(models["net"].file(1, FolderConfig())[0]) == ["net.onnx"]


def test_what_is_no_version_and_hidden_things_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "net" / "1" / "model.onnx")
    for name in ("01", "0", "v2", "configs", ".3"):
        write(tmp_path / "net" / name / "model.onnx")
    write(tmp_path / ".git" / "1" / "model.onnx")
    write(tmp_path / ".net.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "gone.onnx").symlink_to(tmp_path / "nowhere")
    models = found(tmp_path)
    assert list(models) == ["net"]
    assert list(models["net"].versions) == [1]


def test_links_are_followed(tmp_path: Path) -> None:
    """Kubernetes mounts files as links."""
    write(tmp_path / "..data" / "1" / "model.onnx")
    (tmp_path / "net").symlink_to(tmp_path / "..data")
    assert list(found(tmp_path)["net"].versions) == [1]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["net/config.pbtxt"], "It has no version"),
        (["net.onnx", "net/1/model.onnx"], "The folder has it twice"),
        (["1net/1/model.onnx"], "Its name cannot be that of an engine"),
    ],
)
def test_a_model_that_cannot_be_served_says_why(tmp_path: Path, files: list[str], told: str) -> None:
    for file in files:
        write(tmp_path / file)
    (model,) = found(tmp_path).values()
    assert told in model.problem


@pytest.mark.parametrize(
    ("files", "config", "chosen"),
    [
        (["model.onnx", "model.plan"], "backend: 'onnxruntime'", "model.onnx"),
        (["model.onnx", "model.plan"], "platform: 'tensorrt_plan'", "model.plan"),
        (["model.onnx", "a.plan"], "default_model_filename: 'a.plan'", "a.plan"),
        (["model.pt", "labels.txt"], "", "model.pt"),
        (["model.blob", "notes"], "backend: 'openvino'", "model.blob"),
        (["model.onnx/a.onnx", "model.onnx/a.data"], "", "model.onnx/a.onnx"),
    ],
)
def test_a_versions_file_is_chosen(tmp_path: Path, files: list[str], config: str, chosen: str) -> None:
    for file in files:
        write(tmp_path / "net" / "1" / file)
    file = found(tmp_path)["net"].file(1, FolderConfig.read(config.encode(), "net"))
    assert "/".join(file.path) == f"net/1/{chosen}"


@pytest.mark.parametrize(
    ("files", "config", "told"),
    [
        (["model.onnx", "model.plan"], "", "Version 1 has model.plan, model.onnx: say which"),
        (
            ["model.xml", "model.bin"],
            "backend: 'openvino'",
            "model.bin, model.xml, and needs model.onnx or model.blob. OpenVINO's IR is not",
        ),
        (
            ["model.bin"],
            "backend: 'openvino'",
            "Version 1 has model.bin, and needs model.onnx or model.blob.",
        ),
        (["model.onnx"], "default_model_filename: 'a.onnx'", "Version 1 has model.onnx, and needs a.onnx."),
        (["model.onnx/a.onnx", "model.onnx/b.onnx"], "", "the folder model.onnx with 2 files named *.onnx"),
        (["model.onnx/data"], "", "the folder model.onnx with 0 files"),
        (["model.plan/model.plan"], "platform: 'tensorrt_plan'", "the folder model.plan with 0 files"),
    ],
)
def test_a_version_without_one_file_says_what_it_has(
    tmp_path: Path, files: list[str], config: str, told: str
) -> None:
    for file in files:
        write(tmp_path / "net" / "1" / file)
    with pytest.raises(InvalidInput) as refused:
        found(tmp_path)["net"].file(1, FolderConfig.read(config.encode(), "net"))
    assert told in str(refused.value)


def test_a_stamp_changes_with_config_files_and_versions(tmp_path: Path) -> None:
    plan = write(tmp_path / "net" / "1" / "model.onnx")
    stamps = [found(tmp_path)["net"].stamp]
    config = write(tmp_path / "net" / "config.pbtxt", b"")
    stamps.append(found(tmp_path)["net"].stamp)
    config.write_bytes(b"max_batch_size: 4")
    stamps.append(found(tmp_path)["net"].stamp)
    plan.write_bytes(b"another plan")
    stamps.append(found(tmp_path)["net"].stamp)
    write(tmp_path / "net" / "2" / "model.onnx")
    stamps.append(found(tmp_path)["net"].stamp)
    assert len(set(stamps)) == len(stamps)
    assert found(tmp_path)["net"].stamp == stamps[-1]


def test_the_stamp_of_an_onnx_model_is_that_of_its_files_too(tmp_path: Path) -> None:
    file = write(tmp_path / "net" / "1" / "model.onnx")
    alone = found(tmp_path)["net"].file(1, FolderConfig())
    assert (alone.beside, alone.size) == ([], 4)
    data = write(tmp_path / "net" / "1" / "model.onnx.data")
    both = found(tmp_path)["net"].file(1, FolderConfig())
    assert (both.beside, both.path[-1]) == (["model.onnx.data"], "model.onnx")
    data.write_bytes(b"other data")
    assert len({alone.stamp, both.stamp, found(tmp_path)["net"].file(1, FolderConfig()).stamp}) == 3
    file.unlink()
    write(file / "model.onnx")
    write(file / "weights").write_bytes(b"weights")
    inside = found(tmp_path)["net"].file(1, FolderConfig())
    assert (inside.beside, list(inside.path)) == (["weights"], ["net", "1", "model.onnx", "model.onnx"])
    assert stamp_now(LocalFiles(tmp_path), inside) == inside.stamp
    (file / "weights").write_bytes(b"other")
    assert stamp_now(LocalFiles(tmp_path), inside) != inside.stamp


class Deny(LocalFiles):
    def entries(self, path: Sequence[str] = ()) -> list[Entry]:
        if path and path[0] == "denied":
            raise self._unreadable(path, PermissionError(13, "Permission denied"))
        return super().entries(path)


def test_a_model_that_cannot_be_read_is_told_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "denied" / "1" / "model.onnx")
    write(tmp_path / "many" / "1" / "model.onnx")
    for name in "abc":
        write(tmp_path / "many" / "1" / name)
    write(tmp_path / "net.onnx")
    monkeypatch.setattr(files, "MOST_ENTRIES", 3)
    models = look(Deny(tmp_path))
    assert {name: model.problem for name, model in models.items()} == {
        "denied": f"{tmp_path}/denied cannot be read: Permission denied.",
        "many": f"{tmp_path}/many/1 has 4 entries; a folder may have at most 3.",
        "net": "",
    }


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"\x1b[31mred"])
def test_a_name_that_is_no_plain_text_is_told_with_escapes(tmp_path: Path, name: bytes) -> None:
    write(tmp_path / os.fsdecode(name) / "1" / "model.onnx")
    write(tmp_path / os.fsdecode(name + b"2.onnx"))
    write(tmp_path / "net" / "1" / os.fsdecode(name))
    models = look(LocalFiles(tmp_path))
    assert len(models) == 3
    told = [*models, *(model.problem for model in models.values())]
    with pytest.raises(InvalidInput) as refused:
        models["net"].file(1, FolderConfig())
    assert all(text.isprintable() and text.isascii() for text in filter(None, [*told, str(refused.value)]))
    assert sum("Its name cannot be" in text for text in told) == 2


def test_a_missing_folder_is_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--model-repository"):
        open_files(str(tmp_path / "nowhere"))
    there = open_files(str(tmp_path))
    with pytest.raises(Unavailable, match="cannot be read"):
        there.entries(["nowhere"])


def test_what_is_read_whole_is_bounded(tmp_path: Path) -> None:
    write(tmp_path / "config.pbtxt", b"x" * 11)
    there = LocalFiles(tmp_path)
    assert len(read_small(there, ["config.pbtxt"], 11)) == 11
    with pytest.raises(TooLarge, match="has more than 10 B"):
        read_small(there, ["config.pbtxt"], 10)


def test_a_folder_with_too_many_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_ENTRIES", 2)
    for name in "abc":
        write(tmp_path / f"{name}.onnx")
    with pytest.raises(TooLarge, match="at most 2"):
        found(tmp_path)
