"""Tensors on the wire: the body of an inference request in, the body of its answer out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from runtime_ext import Output, TensorSpec
from trtserve.codec import open_inference, safetensors
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.json_values import write
from trtserve.codec.request import LONGEST_NS, Form, InferRequest, Place, RequestedOutput, Selected
from trtserve.errors import InvalidInput

LONG_BYTES = 1_048_576  # of an output that is written as JSON: some 10 ms

NOTHING: Mapping[str, list[bytes]] = MappingProxyType({})

Body = bytes | memoryview

__all__ = [
    "LONGEST_NS",
    "Body",
    "BodyForm",
    "Form",
    "InferRequest",
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
    """What a request's headers say of its body, and of the answer that it asks for."""

    body: Form
    header_length: str | None  # of the JSON in the binary form, as it came
    timeout_ns: int | None  # None: the headers say nothing; 0: there is no limit
    answer: Form | None  # None: as the request's
    coding: str | None = None  # of the body, before anything else is done with it: gzip, deflate or none
    answer_coding: str | None = None  # that the client asks for

    def complete(self, request: InferRequest) -> InferRequest:
        """Add to a request what the headers say of it."""
        if self.timeout_ns is not None:
            request.timeout_ns = self.timeout_ns or None
        if self.answer is not None:
            request.answer = self.answer
        return request


def decode_body(form: BodyForm, body: Body) -> InferRequest:
    """The request in a body; its inputs are views on it where they can be.

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
    """Raise InvalidInput where an input, (name, datatype, shape), is of a datatype that engines do not have.

    Before its data is looked at, and before the runtime, which knows only those that they have.
    """
    for name, datatype, shape in tensors:
        if datatype not in DATATYPES:
            shapes = ["of any rank" if spec.shape is None else spec.shape for spec in specs]
            inputs = {s.name: f"{s.datatype} {shape}" for s, shape in zip(specs, shapes, strict=True)}
            if name in inputs:
                raise InvalidInput(
                    f"Input {name!r} came as {datatype} {shape}; the engine's input is {inputs[name]}."
                )
            listed = ", ".join(f"{known!r} ({what})" for known, what in inputs.items())
            raise InvalidInput(f"The engine has no input {name!r}; its inputs: {listed}.")


def select(request: InferRequest, specs: Sequence[TensorSpec]) -> Selected:
    """The outputs that the answer has. Raises InvalidInput."""
    if request.outputs is None:
        return [(index, request.binary_outputs) for index in range(len(specs))]
    by_name = {spec.name: index for index, spec in enumerate(specs)}
    # In the order of the request. One more than the engine's outputs is unknown or comes twice, so this
    # ends soon however long the list is.
    selected: dict[int, Place] = {}
    for output in request.outputs:
        index = _index(output, by_name)
        if index in selected:
            raise InvalidInput(f"The request asks for output {output.name!r} twice.")
        if output.region is not None and request.answer is Form.SAFETENSORS:
            raise InvalidInput(
                f"The request asks for output {output.name!r} in shared memory, and for an answer in "
                "safetensors, which cannot say so; accept application/json."
            )
        selected[index] = output.binary if output.region is None else output.region
    return list(selected.items())


def encode_parts(
    request: InferRequest,
    outputs: Sequence[Output],
    selected: Selected,
    *,
    model_name: str,
    model_version: str,
    written: Mapping[str, list[bytes]] = NOTHING,
) -> tuple[list[Body], dict[str, str]]:
    """The answer's body, in parts of which the large ones are views on the outputs, and its headers: in the
    form that the request asked for. `written` has what write() made of outputs, by their names."""
    if request.answer is Form.SAFETENSORS:
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
    """The outputs, with their names and datatypes, that are so large in the answer's JSON that write() is to
    make text of them before."""
    if request.answer is Form.SAFETENSORS:
        return []
    large = [(outputs[index], memoryview(outputs[index])) for index, place in selected if place is False]
    return [
        (output.name, output.datatype, data)
        for output, data in large
        if len(data) > LONG_BYTES and output.datatype != "BYTES"
    ]


def _index(output: RequestedOutput, by_name: Mapping[str, int]) -> int:
    if output.name not in by_name:
        raise InvalidInput(
            f"The engine has no output {output.name!r}; its outputs: {', '.join(map(repr, by_name))}."
        )
    return by_name[output.name]
