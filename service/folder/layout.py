"""What models a folder has: their configs, their versions, and the file of each version."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from trtserve.errors import InvalidInput, TooLarge, Unavailable
from trtserve.folder.files import RETRY_AFTER_S, Denied, Entry, FilePath, Files, Slow
from trtserve.folder.model_config import FolderConfig
from trtserve.formats.format import Format
from trtserve.options.names import NAME_RULE, is_name
from trtserve.text import first_of, printable

CONFIG = "config.pbtxt"
ONNX = ".onnx"
IR_ADVICE = (
    " OpenVINO's IR is not served: put the blob of its CompiledModel.export_model() there, as model.blob, "
    "or the ONNX model."
)
VERSION = re.compile(r"[1-9][0-9]{0,9}")
SHOWN_FILES = 8
MOST_SLOW = 3  # models that do not answer in time; nothing waits for more
FILES: dict[str, Format] = {
    "model.plan": Format.TENSORRT,
    "model.onnx": Format.ONNX,
    "model.blob": Format.OPENVINO,
    "model.pt": Format.TORCHSCRIPT,
}
"""The file of a version whose config names none: its name helps choose, its first bytes tell the format."""
ALONE = (".onnx", ".plan", ".engine", ".blob", ".pt")
"""The ends of files that are a model each."""


class PlanFile(NamedTuple):
    """The file that a version of a model is."""

    path: FilePath
    size: int | None  # bytes, where that is known
    stamp: str  # another one once it has changed, or one of those beside it
    beside: Sequence[str] = ()  # names of files in the same folder, which may have tensors of an ONNX model


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

    @cached_property
    def stamp(self) -> str:
        """Another one once anything of it has changed; of what does not change any more."""
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

    def file(self, version: int, config: FolderConfig) -> PlanFile:
        """The file of a version. Raises InvalidInput, which says what there is."""
        if self.alone is not None:
            return PlanFile(self.place, self.alone.size, self.alone.stamp)
        there = {entry.name: entry for entry in self.versions[version]}
        names = [config.file] if config.file else [n for n in FILES if FILES[n] in config.load.formats]
        found = [name for name in names if name in there]
        if len(found) != 1:
            has = first_of([printable(name) for name in there], SHOWN_FILES) or "nothing"
            if found:
                raise InvalidInput(
                    f"Version {version} has {', '.join(found)}: say which with default_model_filename."
                )
            advice = IR_ADVICE if any(name.endswith(".xml") for name in there) else ""
            raise InvalidInput(f"Version {version} has {has}, and needs {' or '.join(names)}.{advice}")
        return self._plan_file(version, there[found[0]])

    def _plan_file(self, version: int, entry: Entry) -> PlanFile:
        """This file of a version or, of a folder, the ONNX model in it; with the files beside it."""
        folder = f"{entry.name}/" if entry.is_folder else ""
        beside = [
            other._replace(name=other.name.removeprefix(folder))
            for other in self.versions[version]
            if other.name.startswith(folder) and not other.is_folder
        ]
        beside = [other for other in beside if "/" not in other.name]
        models = [other for other in beside if other.name.endswith(ONNX)] if folder else [entry]
        if len(models) != 1:
            raise InvalidInput(
                f"Version {version} has the folder {printable(entry.name)} with {len(models)} files named "
                "*.onnx: it needs one, and the files of its tensors."
            )
        (model,) = models
        data = [other for other in beside if other.name != model.name] if model.name.endswith(ONNX) else []
        place = [*self.place, str(version), *([entry.name] if folder else [])]
        beside_it = [other.name for other in data]
        return PlanFile([*place, model.name], model.size, _stamp([model, *data]), beside_it)


def _stamp(entries: Sequence[Entry]) -> str:
    return repr([(file.name, file.stamp) for file in entries]) if len(entries) > 1 else entries[0].stamp


def stamp_now(files: Files, file: PlanFile) -> str:
    """The stamp that the file has now. Raises Unavailable. Blocks."""
    *folder, name = file.path
    return _stamp([files.entry([*folder, each]) for each in (name, *file.beside)])


def look(files: Files, only: str | None = None) -> dict[str, FoundModel]:
    """The models of the folder, by name, or the one of this name.

    What is wrong with one model is said of it. Raises Unavailable and TooLarge. Blocks.
    """
    found: dict[str, FoundModel] = {}
    slow = 0  # in a row
    for entry in files.entries():
        if only not in {None, entry.name, entry.name.rpartition(".")[0]}:
            continue
        try:
            model = _look_at(files, entry)
            slow = 0
        except (Denied, TooLarge) as failure:
            slow = slow + 1 if isinstance(failure, Slow) else 0
            if slow == MOST_SLOW:
                raise Unavailable(
                    f"{files.root} is slow or silent: {slow} of its models in a row did not answer in time. "
                    f"{failure}",
                    retry_after=RETRY_AFTER_S,
                ) from failure
            model = FoundModel(printable(entry.name), [entry.name], problem=str(failure))
        if model is None:
            continue
        if model.name in found:
            other = found[model.name].place[-1]
            model = FoundModel(
                model.name,
                model.place,
                problem=f"The folder has it twice, as {printable(other)} and {printable(entry.name)}: "
                "remove one.",
            )
        found[model.name] = model
    for model in found.values():
        _ = model.stamp  # made here, in a thread: of all models of a folder it takes long
    return found


def _look_at(files: Files, entry: Entry) -> FoundModel | None:
    """The model that is this entry of the folder; None if it is none."""
    if not entry.is_folder:
        stem, dot, end = entry.name.rpartition(".")
        if dot + end not in ALONE:
            return None
        model = FoundModel(printable(stem), [entry.name], versions={1: []}, alone=entry)
    else:
        model = FoundModel(printable(entry.name), [entry.name])
        for inner in files.entries(model.place):
            if inner.name == CONFIG and not inner.is_folder:
                model.config = inner
            elif not inner.is_folder:
                model.beside.append(inner)
            elif VERSION.fullmatch(inner.name):
                model.versions[int(inner.name)] = _version(files, [*model.place, inner.name])
        if not model.versions:
            model.problem = "It has no version: put its file into a folder whose name is a number, such as 1."
    if not is_name(model.name):
        model.problem = f"Its name cannot be that of an engine: {NAME_RULE}."
    return model


def _version(files: Files, place: FilePath) -> list[Entry]:
    """The files of a version; those in a folder such as model.onnx behind it, as model.onnx/NAME."""
    found: list[Entry] = []
    for entry in files.entries(place):
        found.append(entry)
        if entry.is_folder and entry.name.endswith(ONNX):
            inner = files.entries([*place, entry.name])
            found += [file._replace(name=f"{entry.name}/{file.name}") for file in inner]
    return found
