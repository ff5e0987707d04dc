"""Tensors on the wire: decodes the bodies of inference requests, encodes the bodies of answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from runtime_ext import Output, TensorSpec
from trtserve.codec import classes, open_inference, safetensors
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.open_inference import write
from trtserve.codec.request import LONGEST_NS, Form, InferRequest, Place, RequestedOutput, Selected
from trtserve.codec.tensor import Misshapen
from trtserve.errors import InvalidInput

LONG_BYTES = 1_048_576  # of an output; writing it as JSON takes some 5 ms
LONG_STRINGS = 32_768  # likewise of strings, which may have no more than their lengths

NOTHING: Mapping[str, bytes] = MappingProxyType({})

Body = bytes | memoryview

__all__ = [
    "LONGEST_NS",
    "Body",
    "BodyForm",
    "Form",
    "InferRequest",
    "Misshapen",
    "Selected",
    "check_datatypes",
    "decode_body",
    "encode_parts",
    "long_to_write",
    "select",
    "write",
]


@dataclass(frozen=True, slots=True)
class BodyForm:
    """What a request's headers say about its body, and about the answer that it asks for."""

    body: Form
    header_length: str | None  # the length of the JSON in the binary form, as sent
    timeout_ns: int | None  # None: the headers give none; 0: no limit
    answer: Form | None  # None: the request's form
    coding: str | None = None  # gzip, deflate or None; to be undone before the body is decoded
    answer_coding: str | None = None  # the coding that the client asks for

    def complete(self, request: InferRequest) -> InferRequest:
        """Add to the request what its headers say."""
        if self.timeout_ns is not None:
            request.timeout_ns = self.timeout_ns or None
        if self.answer is not None:
            request.answer = self.answer
        return request


def decode_body(form: BodyForm, body: Body) -> InferRequest:
    """The request in a body; its inputs are views on the body if possible.

    Raises InvalidInput and Unsupported.
    """
    if form.header_length is not None:
        request = open_inference.decode(*open_inference.split(body, form.header_length))
    elif form.body is Form.SAFETENSORS:
        request = safetensors.decode(body)
    else:
        request = open_inference.decode(body, memoryview(b""))
    return form.complete(request)


def check_datatypes(tensors: Iterable[tuple[str, str, list[int]]], specs: Sequence[TensorSpec]) -> None:
    """Raise InvalidInput if an input (name, datatype, shape) has a datatype that no engine supports.

    Call it before reading the data and before the runtime, which knows only the engines' datatypes.
    """
    for name, datatype, shape in tensors:
        if datatype in DATATYPES:
            continue
        if not any(spec.name == name and spec.datatype == datatype for spec in specs):
            shapes = ["of any rank" if spec.shape is None else spec.shape for spec in specs]
            inputs = {s.name: f"{s.datatype} {shape}" for s, shape in zip(specs, shapes, strict=True)}
            if name in inputs:
                raise InvalidInput(
                    f"Input {name!r} is {datatype} {shape}; the engine's input is {inputs[name]}."
                )
            listed = ", ".join(f"{known!r} ({what})" for known, what in inputs.items())
            raise InvalidInput(f"The engine has no input {name!r}; its inputs: {listed}.")


def select(request: InferRequest, specs: Sequence[TensorSpec]) -> Selected:
    """The outputs that the answer contains, in its order. Raises InvalidInput."""
    either = request.answer is Form.EITHER
    if request.outputs is None:
        if request.answer is Form.SAFETENSORS:
            safetensors.check_outputs(specs)
        return [(index, either or request.binary_outputs) for index in range(len(specs))]
    by_name = {spec.name: index for index, spec in enumerate(specs)}
    # In the order of the request. A list longer than the engine's outputs has an unknown name or a
    # duplicate, so this ends soon however long the list is.
    selected: dict[int, Place] = {}
    for output in request.outputs:
        index = _index(output, by_name)
        if index in selected:
            raise InvalidInput(f"The request asks for output {output.name!r} twice.")
        if output.region is not None and request.answer is Form.SAFETENSORS:
            raise InvalidInput(
                f"The request asks for output {output.name!r} in shared memory, and for an answer in "
                "safetensors, which cannot express that; accept application/json."
            )
        classes.check(request, output, specs[index])
        selected[index] = either or output.binary if output.region is None else output.region
    if request.answer is Form.SAFETENSORS:
        safetensors.check_outputs([specs[index] for index in selected])
    return list(selected.items())


def encode_parts(
    request: InferRequest,
    outputs: Sequence[Output],
    selected: Selected,
    *,
    model_name: str,
    model_version: str,
    written: Mapping[str, bytes] = NOTHING,
) -> tuple[list[Body], dict[str, str]]:
    """The answer's body and headers, in the form that the request asked for. The body comes in parts; large
    parts are views on the outputs. `written`, by output name, is the text that write() made of outputs."""
    if _is_file(request, outputs, selected):
        chosen = [outputs[index] for index, _ in selected]
        return safetensors.encode(chosen, model_name=model_name, model_version=model_version)
    return open_inference.encode(
        [(outputs[index], place) for index, place in selected],
        model_name=model_name,
        model_version=model_version,
        id=request.id,
        written=written,
    )


def long_to_write(
    request: InferRequest, outputs: Sequence[Output], selected: Selected
) -> list[tuple[str, str, memoryview]]:
    """The outputs (name, datatype, data) that are so long in JSON that write() should make their text before
    encode_parts()."""
    if request.answer is Form.SAFETENSORS:
        return []
    in_json = [(outputs[index], memoryview(outputs[index])) for index, place in selected if place is False]
    return [
        (output.name, output.datatype, data)
        for output, data in in_json
        if len(data) > (LONG_STRINGS if output.datatype == "BYTES" else LONG_BYTES)
    ]


def _is_file(request: InferRequest, outputs: Sequence[Output], selected: Selected) -> bool:
    """True if the answer is a safetensors file."""
    if request.answer is Form.EITHER:
        return all(place is True and outputs[index].datatype in DATATYPES for index, place in selected)
    return request.answer is Form.SAFETENSORS


def _index(output: RequestedOutput, by_name: Mapping[str, int]) -> int:
    if output.name not in by_name:
        raise InvalidInput(
            f"The engine has no output {output.name!r}; its outputs: {', '.join(map(repr, by_name))}."
        )
    return by_name[output.name]
