"""Requests like earlier ones: what their messages say besides an id and data is read once."""

from dataclasses import dataclass, field

from runtime_ext import Completion
from trtserve.inference.call import Call, RequestHead
from trtserve.inference.calls import Inference
from trtserve.inference.templates import Template
from trtserve.rpc import response, wire

MOST = 1024  # kept; the runtime makes no keys above 4 KiB
RENDERED = 8  # output shapes whose answers are kept for one

Rendered = tuple[bytes, int]
"""The head of an answer, and the answer's size without its id."""


@dataclass(slots=True)
class Known:
    """What requests with the same key share, while their engine stays the same."""

    head: RequestHead
    template: Template
    outputs: list[int] = field(init=False)
    single: dict[object, Rendered] = field(default_factory=dict)  # by the shapes of the outputs
    in_stream: dict[object, Rendered] = field(default_factory=dict)
    answer_bytes: int = 0  # of the last new answer: those of the others are alike

    def __post_init__(self) -> None:
        self.outputs = [index for index, _ in self.template.selected]

    def rendered(self, inference: Inference, call: Call, completion: Completion, of_stream: bool) -> Rendered:
        """The head of the answer. Raises the error that the request ended with."""
        if completion.kind is None:
            found = (self.in_stream if of_stream else self.single).get(completion.shapes)
            if found is not None:
                return found
        return self._render(inference, call, completion, of_stream)

    def _render(self, inference: Inference, call: Call, completion: Completion, of_stream: bool) -> Rendered:
        outputs = inference.outputs(call, completion)
        head = response.head(call, outputs, of_stream=of_stream)
        made = (
            head,
            len(head) + wire.outputs_size(memoryview(outputs[index]).nbytes for index in self.outputs),
        )
        self.answer_bytes = made[1]
        kept = self.in_stream if of_stream else self.single
        if len(kept) >= RENDERED:
            del kept[next(iter(kept))]
        kept[completion.shapes] = made
        return made


class KnownRequests:
    """The known requests by their keys. Belongs to the event loop.

    A full cache drops the one that was unused for longest.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def get(self, key: bytes) -> Known | None:
        known = self._known.pop(key, None)
        if known is not None:
            self._known[key] = known  # the last is the latest
        return known

    def keep(self, key: bytes, known: Known) -> None:
        self._known.pop(key, None)
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = known
