"""What models a folder has: their configs, their versions, and the file of each version."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from trtserve.errors import InvalidInput, TooLarge
from trtserve.folder.files import Entry, Files
from trtserve.folder.model_config import FolderConfig
from trtserve.formats.format import Format
from trtserve.options.names import NAME_RULE, is_name

CONFIG = "config.pbtxt"
VERSION = re.compile(r"[1-9][0-9]{0,9}")
MOST_MODELS = 10_000
FILES: dict[str, Format] = {
    "model.plan": Format.TENSORRT,
    "model.onnx": Format.ONNX,
    "model.blob": Format.OPENVINO,
    "model.pt": Format.TORCHSCRIPT,
}
"""The file of a version whose config names none: its name helps choose, its first bytes tell the format."""
ALONE = (".onnx", ".plan", ".engine", ".blob", ".pt")
"""The ends of files that are a model each."""


@dataclass
class FoundModel:
    """A model as the folder has it now."""

    name: str
    place: Sequence[str]  # of its folder, or of its one file
    config: Entry | None = None
    beside: list[Entry] = field(default_factory=list)  # other files of the model, such as labels
    versions: dict[int, list[Entry]] = field(default_factory=dict)  # the files of each
    alone: Entry | None = None  # its one file, where it has no folder
    problem: str = ""  # a sentence: why nothing of it can be served

    @property
    def stamp(self) -> str:
        """Another one once anything of it has changed."""
        files = [
            (number, file.name, file.stamp) for number in self.versions for file in self.versions[number]
        ]
        return repr((self.config_stamp, self.alone and self.alone.stamp, files, self.problem))

    @property
    def config_stamp(self) -> str:
        """Another one once its config has changed, or a file that this may name; empty without a config."""
        if self.config is None:
            return ""
        return repr([(file.name, file.stamp) for file in (self.config, *self.beside)])

    def file(self, version: int, config: FolderConfig) -> tuple[Sequence[str], Entry]:
        """The path and the entry of a version's file. Raises InvalidInput, which says what there is."""
        if self.alone is not None:
            return self.place, self.alone
        there = {entry.name: entry for entry in self.versions[version]}
        names = [config.file] if config.file else [n for n in FILES if FILES[n] in config.load.formats]
        found = [name for name in names if name in there]
        if len(found) != 1:
            has = ", ".join(there) or "nothing"
            if found:
                raise InvalidInput(
                    f"Version {version} has {', '.join(found)}: say which with default_model_filename."
                )
            raise InvalidInput(f"Version {version} has no {' or '.join(names)}, but {has}.")
        entry = there[found[0]]
        if entry.is_folder:
            raise InvalidInput(
                f"Version {version} has {entry.name} as a folder: a model has to be one file (of an ONNX "
                "model, export it with external_data=False)."
            )
        return [*self.place, str(version), entry.name], entry


def look(files: Files, only: str | None = None) -> dict[str, FoundModel]:
    """The models of the folder, by name, or the one of this name. Raises Unavailable. Blocks."""
    found: dict[str, FoundModel] = {}
    entries = files.entries()
    if len(entries) > MOST_MODELS:
        raise TooLarge(
            f"{files.root} has {len(entries)} entries; a folder to serve has at most {MOST_MODELS}."
        )
    for entry in entries:
        if only not in {None, entry.name, entry.name.rpartition(".")[0]}:
            continue
        model = _look_at(files, entry)
        if model is None:
            continue
        if model.name in found:
            other = found[model.name].place[-1]
            model = FoundModel(
                model.name, model.place, problem=f"It is there twice, as {other} and {entry.name}."
            )
        found[model.name] = model
    return found


def _look_at(files: Files, entry: Entry) -> FoundModel | None:
    """The model that is this entry of the folder; None if it is none."""
    if not entry.is_folder:
        stem, dot, end = entry.name.rpartition(".")
        if dot + end not in ALONE:
            return None
        model = FoundModel(stem, [entry.name], versions={1: []}, alone=entry)
    else:
        model = FoundModel(entry.name, [entry.name])
        for inner in files.entries(model.place):
            if inner.name == CONFIG and not inner.is_folder:
                model.config = inner
            elif not inner.is_folder:
                model.beside.append(inner)
            elif VERSION.fullmatch(inner.name):
                model.versions[int(inner.name)] = files.entries([*model.place, inner.name])
        if not model.versions:
            model.problem = "It has no version: a folder whose name is a number, such as 1."
    if not is_name(model.name):
        model.problem = f"Its name cannot be that of an engine: {NAME_RULE}."
    return model
