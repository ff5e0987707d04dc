"""The `parameters` of the repository extension's load and unload, from JSON or from gRPC."""

import binascii
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from trtserve.errors import InvalidInput
from trtserve.oip.config_reader import LoadConfig, read_config
from trtserve.text import shown
from trtserve.workers import UPLOADS

FILE = re.compile(r"file:([1-9][0-9]{0,9})/([^/]+)")
BLOCK = 1024**2  # characters that are decoded at once, in a thread: it holds the GIL for no longer than that


@dataclass(frozen=True)
class PlanFile:
    """One `file:<version>/<name>`: the plan of a version."""

    parameter: str  # its name
    version: int
    content: str | memoryview | bytes  # the first two in base64, the last as it is

    @property
    def size(self) -> int:
        """Bytes of the plan; of wrong base64, about as many."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return len(self.content) // 4 * 3 - self._end().count(b"=")

    async def blocks(self) -> AsyncIterator[bytes]:
        """The plan. InvalidInput as soon as the base64 is wrong."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        if len(self.content) % 4:
            raise self._not_base64(f"it has {len(self.content)} characters, which is not a multiple of 4")
        for begin in range(0, len(self.content), BLOCK):
            part = self.content[begin : begin + BLOCK]
            if part[-1:] in ("=", b"=") and begin + BLOCK < len(self.content):
                raise self._not_base64("it goes on behind its padding")
            try:
                yield await UPLOADS.run(binascii.a2b_base64, part, strict_mode=True)
            except ValueError as failure:
                raise self._not_base64(str(failure)) from None

    def _end(self) -> bytes:
        end = self.content[-2:]
        return end.encode(errors="replace") if isinstance(end, str) else bytes(end)

    def _not_base64(self, why: str) -> InvalidInput:
        return InvalidInput(f"The parameter {self.parameter!r} is not base64: {why}.")


@dataclass(frozen=True)
class LoadParameters:
    config: LoadConfig | None
    files: list[PlanFile]  # ascending by version, one of each


def read_load(name: str, parameters: Mapping[str, object]) -> LoadParameters:
    """Of a load of the model `name`. Raises InvalidInput, and Unsupported as read_config does."""
    config = None
    files: dict[int, PlanFile] = {}
    for parameter, value in parameters.items():
        if parameter == "config":
            config = read_config(value, name)
        elif parameter.startswith("file:"):
            file = _file(parameter, value)
            if file.version in files:
                raise InvalidInput(
                    f"Version {file.version} has two files, {files[file.version].parameter!r} and "
                    f"{parameter!r}; a version is one file: pack an ONNX model and the files of its tensors "
                    "into a zip or a tar."
                )
            files[file.version] = file
        else:
            raise _unknown(parameter, "A load", ["config", "file:<version>/<name>"])
    return LoadParameters(config, [files[version] for version in sorted(files)])


def read_unload(parameters: Mapping[str, object]) -> bool:
    """Whether the modules that call the model are to be unloaded too: `unload_dependents`."""
    for parameter, value in parameters.items():
        if parameter != "unload_dependents":
            raise _unknown(parameter, "An unload", ["unload_dependents"])
        if not isinstance(value, bool):
            raise InvalidInput(f"The parameter 'unload_dependents' is {shown(value)}; it is true or false.")
    return parameters.get("unload_dependents") is True


def _file(parameter: str, value: object) -> PlanFile:
    path = FILE.fullmatch(parameter)
    if path is None:
        raise InvalidInput(
            f"The parameter {parameter[:200]!r} does not name a file as file:<version>/<name>, for example "
            "file:1/model.plan: a version is a number from 1 to 9999999999, and a name has no /."
        )
    if not isinstance(value, (str, memoryview, bytes)):
        raise InvalidInput(
            f"The parameter {parameter!r} is {shown(value)}; it is a string with the file's bytes in base64."
        )
    return PlanFile(parameter, int(path[1]), value)


def _unknown(parameter: str, operation: str, known: Iterable[str]) -> InvalidInput:
    return InvalidInput(f"{operation} has no parameter {parameter[:200]!r}; it has {', '.join(known)}.")
