"""What is known of an inference request while it is in progress: its head, and its call."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from runtime_ext import Completion
from trtserve.codec import Body, BodyForm, Form, InferRequest, Selected, open_inference
from trtserve.engines.engine import Resolved
from trtserve.inference.templates import Template

HERE_BYTES = (
    2_097_152  # of numbers as text that the event loop reads itself (about 10 ms); a thread reads more
)


@dataclass(slots=True, eq=False)
class RequestHead:
    """What a request's target and headers say; requests with the same head may share it.

    The form's timeout and the length of its JSON may differ between them: see start().
    """

    ref: str
    version: str | None  # as in the target; None: the current one
    form: BodyForm
    header_length: int  # of the JSON in the binary form; -1: another form
    of_model: bool = False  # asks for a model of the Open Inference Protocol, not for an engine
    shared: bool = True  # False: belongs to one request, so that nothing is kept for the next
    json_key: bytes = (
        b""  # equal for heads whose JSON bodies say the same; empty if the body is not JSON alone
    )

    @classmethod
    def of(
        cls, ref: str, version: str | None, form: BodyForm, *, of_model: bool = False, shared: bool = True
    ) -> "RequestHead":
        length = form.header_length or ""
        # Any other value is refused when the body is decoded.
        known = length.isascii() and length.isdecimal() and len(length) <= open_inference.LENGTH_DIGITS
        head = cls(ref, version, form, int(length) if known else -1, of_model, shared)
        if form.header_length is None and form.body is Form.PROTOCOL:
            head.json_key = repr((ref, version, form, of_model)).encode()
        return head


@dataclass(slots=True)
class Call:
    """A request in progress."""

    resolved: Resolved
    ticket: int
    request: InferRequest
    selected: Selected
    template: Template | None
    made: int = 0  # bytes of inputs outside the body; they count as in progress until the completion
    late: asyncio.Task[None] | None = None  # begins the request, which waits until its engine is resident

    def take_over(self, begun: "Call") -> None:
        """Become the call that has begun, after the wait for its engine."""
        self.resolved, self.ticket, self.request = begun.resolved, begun.ticket, begun.request
        self.selected, self.template, self.made = begun.selected, begun.template, begun.made
        self.late = begun.late

    @property
    def served_as(self) -> tuple[str, str]:
        """The name and the version of its engine, as the answer has them."""
        return self.resolved.model_name, self.resolved.model_version

    @property
    def engine_id(self) -> int:
        return self.resolved.engine.id


Done = Callable[[Completion], None]
Answer = tuple[list[Body], dict[str, str]]
"""Its body in parts, and its headers."""
