"""Classes instead of a tensor: the greatest elements of an output, with their indices and labels.

Source: Triton's "Classification Extension". The output's parameter `classification` says how many are wanted;
0 asks for the tensor. The answer has a BYTES tensor with "score:index" or "score:index:label" for each class,
the greatest first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from runtime_ext import TensorSpec, top_classes
from trtserve.codec.request import Form, InferRequest, RequestedOutput, Selected
from trtserve.codec.whole import whole
from trtserve.errors import InvalidInput
from trtserve.text import shown

if TYPE_CHECKING:
    from runtime_ext import Output

PARAMETER = "classification"
UNRANKED = {"BOOL", "BYTES"}  # the datatypes that have no greatest elements
LONG_BYTES = 4_194_304  # of an output whose classes are found in a thread (they take some 5 ms)
LONG_CLASSES = 1024  # likewise of an answer, and 5 ms if they are to be JSON

Labels = Mapping[str, Sequence[str]]
"""By the name of an output, what its classes are called, in their order."""


class Classes(bytes):
    """Stands for an Output, and has its members."""

    name: str
    datatype = "BYTES"
    shape: list[int]


def asked(name: str, parameters: Mapping[str, Any]) -> int:
    """How many classes of the output `name` its parameters ask for; 0: none, but the tensor."""
    given = parameters.get(PARAMETER, 0)
    classes = whole(given)
    if classes is None or classes < 0:
        raise InvalidInput(
            f"The parameter {PARAMETER} of output {name!r} is {shown(given)}; it must be a whole "
            "number from 0."
        )
    return classes


def check(request: InferRequest, output: RequestedOutput, spec: TensorSpec) -> None:
    """Raise InvalidInput if the classes of this output cannot be answered."""
    if output.classes == 0:
        return
    ask = f"The request asks for the classes of output {output.name!r}"
    if spec.datatype in UNRANKED:
        raise InvalidInput(f"{ask}, which is {spec.datatype}: only numbers are ranked. Ask for the tensor.")
    if output.region is not None:
        raise InvalidInput(
            f"{ask} in shared memory: the length of their text is not known before. Ask for "
            "them without a region, or for the tensor."
        )
    if request.answer is Form.SAFETENSORS:
        raise InvalidInput(
            f"{ask}, and for an answer in safetensors, which has no strings; accept application/json."
        )


def take_long(
    request: InferRequest, outputs: Sequence["Output"], selected: Selected, *, batched: bool
) -> bool:
    """True if a thread should find the classes that the request asks for. `batched`: see classified()."""
    found = 0
    for wanted, (index, _) in zip(request.outputs or (), selected, strict=True):
        if wanted.classes:
            found += math.prod(_shape(outputs[index], wanted.classes, batched=batched))
            if found > LONG_CLASSES or len(memoryview(outputs[index])) > LONG_BYTES:
                return True
    return False


def classified(
    request: InferRequest, outputs: list["Output"], selected: Selected, labels: Labels, *, batched: bool
) -> list["Output"]:
    """The outputs, with classes in place of those whose classes are asked for.

    `batched`: dimension 0 is the batch, and each item of it has classes of its own; otherwise the whole
    tensor has.
    """
    answered = list(outputs)
    for wanted, (index, _) in zip(request.outputs or (), selected, strict=True):
        if wanted.classes:
            of = labels.get(wanted.name, ())
            answered[index] = cast("Output", _classes(outputs[index], wanted.classes, of, batched=batched))
    return answered


def _classes(output: "Output", most: int, labels: Sequence[str], *, batched: bool) -> Classes:
    shape = _shape(output, most, batched=batched)
    items = shape[0] if len(shape) == 2 else 1
    classes = Classes(top_classes(output, output.datatype, items, shape[-1], labels))
    classes.name = output.name
    classes.shape = shape
    return classes


def _shape(output: "Output", most: int, *, batched: bool) -> list[int]:
    """How many classes there are: of each item, if the output has items, or of the whole tensor."""
    shape = output.shape
    if batched and shape:
        return [shape[0], min(most, math.prod(shape[1:]))]
    return [min(most, math.prod(shape))]
