"""What a call needs from its connection."""

from collections.abc import Sequence
from typing import Protocol

from runtime_ext import GrpcMessage, GrpcSession
from trtserve.failures import Told
from trtserve.inference.patience import Patience


class Link(Protocol):
    @property
    def session(self) -> GrpcSession: ...

    def coding(self, stream: int, message: GrpcMessage) -> str:
        """The coding of a compressed message; empty for any other."""

    def count(self, kind: str) -> None:
        """Count an error answer."""

    def refuse(self, stream: int, error: Exception) -> None:
        """End a call with an error's status and sentence, after what was sent on it; count the error."""

    def tell(self, stream: int, told: Told, more: Sequence[tuple[str, str]] = ()) -> None:
        """Like refuse(), for an error that has been counted, with more metadata."""

    def forget(self, stream: int) -> None:
        """The call is over, and its status sent."""

    def flush_soon(self) -> None:
        """Write what the session puts out, in this turn of the loop or the next."""

    def patience(self, size: int) -> Patience:
        """The client's, for an answer of `size` bytes."""
