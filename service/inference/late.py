"""A request whose engine is not resident: what is known of it before, and its end if it never runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtserve import codec
from trtserve.codec import Body, BodyForm, InferRequest, open_inference
from trtserve.errors import TrtserveError, of_kind

if TYPE_CHECKING:
    from runtime_ext import Completion


@dataclass(slots=True)
class Refusal:
    """Stands for the completion of a request that no engine has accepted. It has what is read of a failed
    one."""

    failure: Exception
    times = (0, 0, 0, 0, 0, 0)
    batch_requests = 0

    @property
    def kind(self) -> str:
        return getattr(self.failure, "kind", "ExecutionFailed")

    @property
    def message(self) -> str:
        return str(self.failure)


def failure_of(completion: "Completion | Refusal") -> Exception | TrtserveError:
    """The error that a failed request ended with."""
    if isinstance(completion, Refusal):
        return completion.failure
    assert completion.kind is not None, "it failed"
    return of_kind(completion.kind, completion.message)


def time_asked(form: BodyForm, body: Body, written: int) -> int | None:
    """The time in nanoseconds that a request asks for, read without its engine.

    `written`: the length of the JSON in the binary form; -1: another form. Raises the error for a body that
    no engine would accept.
    """
    if written < 0:
        return codec.decode_body(form, body).timeout_ns
    if written == 0:
        return form.complete(InferRequest([])).timeout_ns
    document, _ = open_inference.split(body, str(written))
    return form.complete(open_inference.describe(document).request).timeout_ns
