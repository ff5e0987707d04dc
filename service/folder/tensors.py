"""What a config says of a model's tensors, compared with what the plan has."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime_ext import EngineInfo, TensorSpec
from trtserve.errors import InvalidInput
from trtserve.text import listed

WORDS = {"TYPE_STRING": "BYTES"}  # the datatypes that the protocol has another word for
ANY = -1


@dataclass(frozen=True)
class Declared:
    """A tensor as a config has it."""

    name: str
    datatype: str  # the protocol's word; empty: not said
    shape: tuple[int, ...] | None  # whole; None: not said


@dataclass(frozen=True)
class DeclaredTensors:
    inputs: Sequence[Declared] = ()
    outputs: Sequence[Declared] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "DeclaredTensors":
        """From a config in protobuf's JSON. With a max_batch_size, its dimensions leave the batch out."""
        batch = (ANY,) if int(config.get("max_batch_size", 0)) > 0 else ()
        return cls(
            [_declared(tensor, batch) for tensor in config.get("input", ())],
            [_declared(tensor, batch) for tensor in config.get("output", ())],
        )

    def check(self, info: EngineInfo) -> None:
        """Raise InvalidInput, with all that differs, unless the plan has these tensors."""
        differ = [
            *_differences("input", self.inputs, info.inputs),
            *_differences("output", self.outputs, info.outputs),
        ]
        if differ:
            raise InvalidInput(f"The config and the plan do not agree: {'; '.join(differ)}.")

    @property
    def document(self) -> str:
        """The option `tensors` of a module: Triton too has the tensors of one from its config alone."""
        if not self.outputs or any(each.shape is None for each in (*self.inputs, *self.outputs)):
            return ""
        document = {"inputs": _in_order(self.inputs), "outputs": _in_order(self.outputs)}
        return orjson.dumps(document).decode()


def _declared(tensor: Mapping[str, Any], batch: tuple[int, ...]) -> Declared:
    told = tensor.get("data_type", "")
    datatype = WORDS.get(told, told.removeprefix("TYPE_"))
    dims = tensor.get("dims")
    shape = (*batch, *map(int, dims)) if dims is not None else None
    return Declared(tensor.get("name", ""), datatype, shape)


def _differences(kind: str, declared: Sequence[Declared], has: Sequence[TensorSpec]) -> list[str]:
    by_name = {spec.name: spec for spec in has}
    told = []
    for tensor in declared:
        spec = by_name.get(tensor.name)
        if spec is None:
            names = listed([repr(name) for name in by_name]) if by_name else "none"
            told.append(f"the plan has no {kind} {tensor.name!r}; it has {names}")
            continue
        if tensor.datatype and tensor.datatype != spec.datatype:
            told.append(f"the {kind} {tensor.name!r} is {spec.datatype} in the plan, not {tensor.datatype}")
        if tensor.shape is not None and spec.shape is not None and not _alike(tensor.shape, spec.shape):
            told.append(
                f"the {kind} {tensor.name!r} has the shape {list(spec.shape)} in the plan, not "
                f"{list(tensor.shape)}"
            )
    return told


def _alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """True if a tensor can have both shapes."""
    return len(one) == len(other) and all(a == b or ANY in (a, b) for a, b in zip(one, other, strict=True))


def _in_order(tensors: Sequence[Declared]) -> list[dict[str, Any]]:
    """In the order of a module's arguments: Triton's is that of the numbers at the end of names, x__0."""
    numbers = [re.search(r"__(\d+)$", tensor.name) for tensor in tensors]
    if all(numbers):
        tensors = sorted(tensors, key=lambda tensor: int(tensor.name.rpartition("__")[2]))
    return [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape or ())}
        for tensor in tensors
    ]
