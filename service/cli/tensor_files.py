"""Files of tensors that commands read and write: .npy, .npz, .json, .safetensors."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import click
import orjson

from trtserve.client.tensors import MEDIA_TYPE, decode, encode

WRITTEN = (".npy", ".npz", ".json", ".safetensors")
Specs = Callable[[], Sequence[dict[str, Any]]]
Content = TypeVar("Content")


def read_inputs(given: Sequence[str], specs: Specs) -> tuple[bytes, str]:
    """Body and media type of a request for what --input names; `specs` asks the engine for its inputs.

    Raises click.UsageError.
    """
    import numpy as np

    if len(given) == 1 and "=" not in given[0]:
        file = given[0]
        if file.endswith(".safetensors"):
            return _read(file, lambda path: path.read_bytes()), MEDIA_TYPE
        if file.endswith(".npz"):
            return encode(_read(file, lambda path: dict(np.load(path, allow_pickle=False)))), MEDIA_TYPE
        if file.endswith(".json"):
            return _of_json(file, specs)
    tensors = {}
    for one in given:
        name, equals, file = one.partition("=")
        if not equals or not name or not file.endswith(".npy"):
            raise click.UsageError(
                f"--input {one!r} is neither NAME=FILE.npy nor, alone, a .npz, .json or .safetensors file "
                "with all inputs."
            )
        tensors[name] = _read(file, lambda path: np.load(path, allow_pickle=False))
    return encode(tensors), MEDIA_TYPE


def _of_json(file: str, specs: Specs) -> tuple[bytes, str]:
    import numpy as np

    from trtserve.client.random_inputs import numpy_type

    document = _read(file, lambda path: orjson.loads(path.read_bytes()))
    if not isinstance(document, dict):
        raise click.UsageError(f"{file} is not a JSON object.")
    if isinstance(document.get("inputs"), list) and all(isinstance(x, dict) for x in document["inputs"]):
        return orjson.dumps(document), "application/json"
    types = {spec["name"]: numpy_type(spec) for spec in specs()}
    try:
        arrays = {name: np.asarray(values, types.get(name)) for name, values in document.items()}
    except (ValueError, TypeError, OverflowError) as failure:
        raise click.UsageError(f"{file} holds lists that are not tensors: {failure}.") from failure
    return encode(arrays), MEDIA_TYPE


def write_outputs(file: Path, answer: bytes) -> int:
    """Write an answer (JSON for .json, otherwise safetensors) in the form of the file's name; its bytes."""
    import numpy as np

    if file.suffix in {".json", ".safetensors"}:
        file.write_bytes(answer)
    else:
        tensors = decode(answer, torch=False)
        if file.suffix == ".npz":
            with file.open("wb") as opened:
                np.savez(opened, **tensors)
        elif len(tensors) == 1:
            np.save(file, *tensors.values())
        else:
            names = ", ".join(tensors)
            raise click.UsageError(f"A .npy holds one tensor; the outputs are {names}: write a .npz.")
    return file.stat().st_size


def _read(file: str, read: Callable[[Path], Content]) -> Content:
    try:
        return read(Path(file))
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as failure:  # the last four of np.load
        why = failure.strerror if isinstance(failure, OSError) and failure.strerror else failure
        raise click.UsageError(f"{file} cannot be read: {why}.") from failure
