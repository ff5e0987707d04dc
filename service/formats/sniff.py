"""Tells the format of a plan from its first bytes.

This is a hint for people and a choice of backend, never a guarantee: the backend that deserializes the plan
has the last word. The source of each layout stands where it is read.
"""

from collections.abc import Sequence

from trtserve.errors import InvalidInput, Unsupported
from trtserve.formats.backends import BACKENDS, backend_of
from trtserve.formats.format import Format, Sniffed
from trtserve.formats.generations import is_generation
from trtserve.formats.not_a_plan import HEAD_BYTES, recognise_foreign

TO_BUILD = " To have a plan built from it, upload it with POST /engines?backend=tensorrt."


def decide(head: bytes, asked: str, backends: Sequence[str]) -> Format:
    """The format to load a plan as; `asked` is a format or "auto", `backends` are those of this server.

    Raises InvalidInput if the file is not a plan, or has another format than asked for, and Unsupported if
    its backend is not installed.
    """
    chosen, sniffed = tell_format(head, asked)
    backend = backend_of(chosen)
    if not any(is_generation(each, backend.name) for each in backends):
        raise Unsupported(
            f"The plan is {sniffed.what}, and this server has no {backend.name} backend. "
            f"{backend.missing} {sniffed.advice}".rstrip()
        )
    return chosen


def tell_format(head: bytes, asked: str) -> tuple[Format, Sniffed]:
    """The format of a file, and what it is found to be; `asked` as in decide().

    Raises InvalidInput if the file is not a plan, or has another format than asked for.
    """
    sniffed = sniff(head)
    if sniffed.format is None and (sniffed.known or asked == "auto"):
        raise InvalidInput(f"The plan is {sniffed.what}. {sniffed.advice}")
    if sniffed.format is not None and asked not in {"auto", sniffed.format}:
        raise InvalidInput(
            f"The plan is {sniffed.what}, but format={asked} was asked for. "
            f"Ask for format={sniffed.format} or leave it out."
            + (TO_BUILD if (sniffed.format, asked) == (Format.ONNX, Format.TENSORRT) else "")
        )
    # An unknown file goes to the backend that was asked for: it may know more.
    return sniffed.format or Format(asked), sniffed


def sniff(head: bytes) -> Sniffed:
    """Tell what a file is from its first bytes: all of them, or as many as read_head() looks at."""
    for backend in BACKENDS.values():
        for recognise in backend.recognise:
            if (sniffed := recognise(head)) is not None:
                return sniffed
    head = head[:HEAD_BYTES]
    last = [recognise for backend in BACKENDS.values() for recognise in backend.recognise_last]
    for recognise in (_foreign, *last):
        if (sniffed := recognise(head)) is not None:
            return sniffed
    *kinds, last_kind = [kind for backend in BACKENDS.values() for kind in backend.takes]
    *formats, last_format = Format
    return Sniffed(
        f"something unknown that begins with the bytes {head[:16].hex(' ')}",
        advice=f"Plans are {', '.join(kinds)} and {last_kind}; if it is one of them all the same, say "
        f"which with format={', '.join(formats)} or {last_format}.",
        known=False,
    )


def _foreign(head: bytes) -> Sniffed | None:
    foreign = recognise_foreign(head)
    return Sniffed(foreign.what, advice=foreign.advice) if foreign else None
