"""The bodies of requests and their answers: safetensors, or the protocol's binary form for strings."""

from typing import Any, NamedTuple

from trtserve.client import strings, tensors
from trtserve.client.tensors import Tensors

ACCEPTED = f"{tensors.MEDIA_TYPE}, {strings.MEDIA_TYPE}"
"""The Accept of a request whose answer is read here: the server takes the form that has the outputs."""


class Answer(NamedTuple):
    """An answer as it came."""

    content: bytes
    header_length: str | None  # of the protocol's binary form: of its JSON

    def outputs(self, *, torch: bool) -> dict[str, Any]:
        """The outputs of an answer in one of the forms that ACCEPTED has.

        `torch`: as torch's tensors; those of an answer with strings are always arrays of numpy.
        """
        if self.header_length is not None:
            return strings.decode(self.content, self.header_length)
        return tensors.decode(self.content, torch=torch)


def encode(inputs: Tensors) -> tuple[bytes, dict[str, str]]:
    """A request's body, and the headers that say what it is. Raises InvalidInput."""
    if any(strings.are_strings(tensor) for tensor in inputs.values()):
        return strings.encode(inputs)
    return tensors.encode(inputs), {"Content-Type": tensors.MEDIA_TYPE}
