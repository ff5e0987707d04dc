"""Files of tensors that commands read and write: .npy, .npz, .json, .safetensors."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from zipfile import BadZipFile

import click
import orjson

from trtserve.client.bodies import Answer, encode
from trtserve.client.tensors import MEDIA_TYPE

WRITTEN = (".npy", ".npz", ".json", ".safetensors")
Specs = Callable[[], Sequence[dict[str, Any]]]
Content = TypeVar("Content")


class InferBody(NamedTuple):
    """The body of a request, and what its headers say of it."""

    content: bytes
    media_type: str
    headers: Mapping[str, str] = {}

    @classmethod
    def of(cls, tensors: Mapping[str, Any]) -> Self:
        """Raises InvalidInput."""
        body, headers = encode(tensors)
        return cls(body, headers.pop("Content-Type"), headers)


def read_inputs(given: Sequence[str], specs: Specs) -> InferBody:
    """A request for what --input names; `specs` asks the engine for its inputs.

    Raises click.UsageError.
    """
    import numpy as np

    if len(given) == 1 and "=" not in given[0]:
        file = given[0]
        if file.endswith(".safetensors"):
            return InferBody(_read(file, lambda path: path.read_bytes()), MEDIA_TYPE)
        if file.endswith(".npz"):
            return InferBody.of(_read(file, lambda path: dict(np.load(path, allow_pickle=False))))
        if file.endswith(".json"):
            return _of_json(file, specs)
    tensors = {}
    for one in given:
        name, equals, file = one.partition("=")
        if not equals or not name:
            raise click.UsageError(
                f"--input {one!r} is neither NAME=FILE nor, alone, a .npz, .json or .safetensors file with "
                "all inputs."
            )
        if file.endswith(".npy"):
            tensors[name] = _read(file, lambda path: np.load(path, allow_pickle=False))
        else:
            content = _read(file, lambda path: path.read_bytes())
            tensors[name] = _one_string(one, name, content, specs())
    return InferBody.of(tensors)


def _one_string(given: str, name: str, content: bytes, specs: Sequence[dict[str, Any]]) -> Any:
    """A file as the one string that an input takes."""
    import numpy as np

    spec = next((spec for spec in specs if spec["name"] == name), None)
    if spec is None or spec["datatype"] != "BYTES":
        has = f"{name!r} is {spec['datatype']}" if spec else f"the engine has no input {name!r}"
        raise click.UsageError(
            f"--input {given!r} is no .npy; another file is the string of an input of strings (BYTES), and "
            f"{has}."
        )
    dims = [1] if spec["shape"] is None else spec["shape"]
    shape = [max(dim, 1) for dim in dims]  # one that may vary is 1
    if math.prod(shape) != 1:
        raise click.UsageError(
            f"--input {given!r} is one string, and {name!r} takes {shape} of them: give a .json or .npy."
        )
    found = np.empty(shape, object)
    found.fill(content)
    return found


def _of_json(file: str, specs: Specs) -> InferBody:
    import numpy as np

    from trtserve.client.random_inputs import numpy_type

    document = _read(file, lambda path: orjson.loads(path.read_bytes()))
    if not isinstance(document, dict):
        raise click.UsageError(f"{file} is not a JSON object.")
    if isinstance(document.get("inputs"), list) and all(isinstance(x, dict) for x in document["inputs"]):
        return InferBody(orjson.dumps(document), "application/json")
    types = {spec["name"]: numpy_type(spec) for spec in specs()}
    try:
        arrays = {name: np.asarray(values, types.get(name)) for name, values in document.items()}
    except (ValueError, TypeError, OverflowError) as failure:
        raise click.UsageError(f"{file} holds lists that are not tensors: {failure}.") from failure
    return InferBody.of(arrays)


def write_outputs(file: Path, answer: Answer) -> int:
    """Write an answer, which for .json is JSON, in the form of the file's name; returns its bytes.

    Raises click.UsageError for what the form cannot have.
    """
    import numpy as np

    if file.suffix == ".json" or (file.suffix == ".safetensors" and answer.header_length is None):
        file.write_bytes(answer.content)
    elif file.suffix == ".safetensors":
        raise click.UsageError(
            "A .safetensors has no strings (BYTES), which are among the outputs: write a .json, .npy or .npz."
        )
    else:
        tensors = {name: _in_npy(name, tensor) for name, tensor in answer.outputs(torch=False).items()}
        if file.suffix == ".npz":
            with file.open("wb") as opened:
                np.savez(opened, **tensors)
        elif len(tensors) == 1:
            np.save(file, *tensors.values())
        else:
            names = ", ".join(tensors)
            raise click.UsageError(f"A .npy holds one tensor; the outputs are {names}: write a .npz.")
    return file.stat().st_size


def _in_npy(name: str, tensor: Any) -> Any:
    """The tensor as a .npy can have it without a pickle: strings in as many bytes as the longest has."""
    import numpy as np

    if tensor.dtype.kind != "O":
        return tensor
    if any(string.endswith(b"\0") for string in tensor.flat):  # numpy fills the others up with zeros
        raise click.UsageError(
            f"Output {name!r} has a string that ends in a zero byte, which a .npy cannot have: write a .json."
        )
    return tensor.astype(np.bytes_)


def _read(file: str, read: Callable[[Path], Content]) -> Content:
    try:
        return read(Path(file))
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as failure:  # the last four of np.load
        why = failure.strerror if isinstance(failure, OSError) and failure.strerror else failure
        raise click.UsageError(f"{file} cannot be read: {why}.") from failure
