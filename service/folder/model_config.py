"""What a folder asks of one of its models: its config.pbtxt, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from pydantic import ValidationError

from trtserve.errors import InvalidInput, TooLarge, TrtserveError, Unsupported
from trtserve.folder.tensors import DeclaredTensors
from trtserve.folder.text_config import read_text
from trtserve.formats.format import Format
from trtserve.oip.config_reader import LoadConfig, checked, not_served, understood, unknown_parameters
from trtserve.options.batching import NEVER
from trtserve.options.engine_options import EngineOptions, UploadOptions
from trtserve.options.labels import MOST_CHARACTERS
from trtserve.settings import Settings
from trtserve.text import shown

MOST_BYTES = 1024**2  # of a config.pbtxt, and of a file of labels
NO_CONFIG = LoadConfig(EngineOptions(), frozenset(Format), "")


class NotServed(Unsupported):
    """A config that asks for what this server does not do; `reasons`: a sentence each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class FolderConfig:
    """A config that the server can do, all but what it ignores."""

    load: LoadConfig = NO_CONFIG
    file: str = ""  # the default_model_filename; empty: that of the format
    versions: Mapping[str, Any] = field(default_factory=dict)  # the version_policy
    tensors: DeclaredTensors = field(default_factory=DeclaredTensors)
    label_files: Mapping[str, str] = field(default_factory=dict)  # of outputs, by their names
    labels: str = ""  # the option: what those files hold, see with_labels()
    ignored: Sequence[str] = ()  # what it asks for, and what is ignored

    @classmethod
    def read(cls, text: bytes, name: str) -> "FolderConfig":
        """The config.pbtxt of the model `name`. Raises NotServed and InvalidInput. Blocks."""
        given, unknown = read_text(text)
        config = checked(given, name)
        reasons = not_served(config)
        if not reasons:
            try:
                load = understood(config)
            except TrtserveError as failure:
                reasons = [str(failure)]
        if reasons:
            raise NotServed(reasons)
        file = given.get("default_model_filename", "")
        labels = {
            tensor.get("name", ""): tensor.get("label_filename", "") for tensor in given.get("output", ())
        }
        for named in (file, *labels.values()):
            if "/" in named or named.startswith(".") or not named.isprintable():
                raise InvalidInput(
                    f"The config names the file {shown(named)}; it must be the name of a file in the model's "
                    "folder, without a path, and not begin with a dot."
                )
        ignored = [*config.unread(), *(f"parameters.{name}" for name in unknown_parameters(config))]
        return cls(
            load=load,
            file=file,
            versions=given.get("version_policy", {}),
            tensors=DeclaredTensors.of(given),
            label_files={output: named for output, named in labels.items() if named},
            ignored=[*dict.fromkeys(ignored), *([unknown] if unknown else [])],
        )

    def with_labels(self, files: Mapping[str, bytes]) -> "FolderConfig":
        """With what the label files hold, by their names: a label in each line. Raises InvalidInput."""
        labels = {}
        self.check_labels(sum(len(files[name]) for name in self.label_files.values()))
        for output, name in self.label_files.items():
            try:
                labels[output] = files[name].decode().splitlines()
            except UnicodeDecodeError as failure:
                raise InvalidInput(f"{name} is not text in UTF-8: {failure}.") from None
        document = orjson.dumps(labels).decode() if labels else ""
        self.check_labels(len(document))
        return replace(self, labels=document)

    def check_labels(self, size: int) -> None:
        """Raise TooLarge if all labels together are more than an engine may have."""
        if size > MOST_CHARACTERS:
            raise TooLarge(
                f"The labels of all outputs together, each in quotes, have {size} bytes; at most "
                f"{MOST_CHARACTERS} are allowed."
            )

    def chosen(self, present: Sequence[int]) -> list[int]:
        """The versions to serve of those that are there, ascending: without a policy, the latest."""
        if "all" in self.versions:
            return sorted(present)
        if "specific" in self.versions:
            wanted = set(map(int, self.versions["specific"].get("versions", ())))
            return sorted(wanted & set(present))
        most = int(self.versions.get("latest", {}).get("num_versions", 1))
        return sorted(present)[-most:] if most else []

    @property
    def asked(self) -> UploadOptions:
        """What an upload would ask for."""
        asked = self.load.asked.asked()
        if asked.get("max_queue_delay_us") == NEVER:
            del asked["max_queue_delay_us"]
        return UploadOptions(**asked)

    def options(self, asked: EngineOptions, format: Format, settings: Settings) -> EngineOptions:
        """All options of an engine: those `asked`, those that an upload cannot ask for, and the settings.

        All are asked for, so that an option that leaves the config is as if it had never been there. Raises
        InvalidInput for a document that no upload could have, such as one of too many tensors.
        """
        said = asked.asked()
        if self.load.unjoined:
            said["max_queue_delay_us"] = NEVER
        if format is Format.TORCHSCRIPT and self.tensors.document:
            said.setdefault("tensors", self.tensors.document)
        if self.labels:
            said.setdefault("labels", self.labels)
        try:
            return EngineOptions(**EngineOptions(**said).decided(settings).model_dump())
        except ValidationError as failure:
            fault = failure.errors()[0]
            raise InvalidInput(
                f"What the config says for the option {fault['loc'][0]} is not allowed: {fault['msg']}."
            ) from None
