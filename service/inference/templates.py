"""What requests that are alike share, so that it is found out once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from runtime_ext import Completion, JsonLayout, Prepared, write_number_list
from trtserve.codec import LONG_BYTES, Form, InferRequest, Selected, json_alike, open_inference
from trtserve.codec.datatypes import DATATYPES
from trtserve.engines.engine import Resolved
from trtserve.inference.recent import Recent

MOST = 1024  # JSON templates that are kept; each takes a few kilobytes
SHAPES = 8  # of outputs whose JSON is kept for a template


@dataclass(slots=True)
class Pattern:
    """What requests in the other forms share if they have the same tensors and ask for the same outputs."""

    resolved: Resolved
    prepared: Prepared
    selected: Selected


@dataclass(slots=True)
class Pieces:
    """The JSON of answers whose outputs have the same shapes, without their numbers."""

    before: list[tuple[bytes, int, str]]  # for each output: the text before its data, its index, its datatype
    short: bool  # it takes little time to write the numbers


@dataclass(slots=True, eq=False)
class Template:
    """What requests with one head and one JSON (or its rest) share, while their engine stays the same."""

    resolved: Resolved
    prepared: Prepared
    request: InferRequest  # without inputs
    selected: Selected
    coded: bool  # the answer is to be compressed
    layout: JsonLayout | None = None  # of their data, if it is in their JSON
    alike: bool = field(
        init=False
    )  # nothing but the outputs, all blobs, tells one of their answers from another
    as_json: bool = field(init=False)  # all outputs go into the answer's JSON, as numbers
    _begin: bytes = field(init=False)
    _pieces: Recent[object, Pieces] = field(init=False)  # by output shapes

    def __post_init__(self) -> None:
        specs = self.resolved.engine.loaded.outputs
        tensors = self.request.answer is Form.PROTOCOL and not self.request.classified
        one_answer = tensors and self.request.id is None and not self.coded
        # The length of strings is not in their shape.
        self.alike = one_answer and all(
            place is True and specs[index].datatype in DATATYPES for index, place in self.selected
        )
        self.as_json = tensors and all(
            place is False and specs[index].datatype in DATATYPES for index, place in self.selected
        )
        self._begin = self._until_outputs(None)
        self._pieces = Recent(SHAPES)

    def written(self, completion: Completion, id: str | None) -> list[bytes] | None:
        """The JSON of an answer, in parts, if as_json; None if that takes long."""
        shapes = completion.shapes
        pieces = self._pieces.get(shapes)
        if pieces is None:
            pieces = self._pieces_for(completion)
            self._pieces.put(shapes, pieces)
        if not pieces.short:
            return None
        parts = [self._begin if id is None else self._until_outputs(id)]
        for before, index, datatype in pieces.before:
            parts += (before, write_number_list(completion.data(index), datatype))
        parts.append(b"}]}" if pieces.before else b"]}")
        return parts

    def _until_outputs(self, id: str | None) -> bytes:
        return open_inference.begin(self.resolved.model_name, self.resolved.model_version, id)

    def _pieces_for(self, completion: Completion) -> Pieces:
        before: list[tuple[bytes, int, str]] = []
        size = 0
        for index, _ in self.selected:
            output = completion.outputs[index]
            tensor = {"name": output.name, "shape": output.shape, "datatype": output.datatype}
            text = open_inference.before_data(tensor)
            before.append((b"}," + text if before else text, index, output.datatype))
            size += len(memoryview(output))
        return Pieces(before, size <= LONG_BYTES)


class Seen(Enum):
    ONCE = "its template is made if it comes again: some clients never send the same twice"
    UNUSUAL = "there is no template for it"


Key = tuple[bytes, bytes]
"""What a request's head says of its JSON, and the rest of it."""


class JsonTemplates:
    """Templates of requests in JSON. Belongs to the event loop."""

    def __init__(self) -> None:
        self._known: Recent[Key, Template | Seen] = Recent(MOST)

    def get(self, key: Key) -> Template | Seen | None:
        return self._known.get(key)

    def learn(
        self,
        key: Key,
        resolved: Resolved,
        request: InferRequest,
        coded: bool,
        pattern: Callable[[], tuple[Prepared, Selected]],
    ) -> None:
        """Note a request that was accepted, for those that are like it.

        `coded`: their answers are to be compressed. `pattern` returns what was found out about them.
        """
        known = self._known.get(key)
        if known is Seen.UNUSUAL:
            return
        learnt: Template | Seen = Seen.ONCE
        if known is not None:
            layout = json_alike.layout(key[1], request)
            learnt = Seen.UNUSUAL
            if layout is not None:
                prepared, selected = pattern()
                learnt = Template(resolved, prepared, request.again(request.id), selected, coded, layout)
        self._known.put(key, learnt)
