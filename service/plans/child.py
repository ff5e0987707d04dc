"""How the end of a child process that does a library's work is told: as an error, or as a success.

Such a child reports with a line of JSON: {"ok": true, …}, or {"kind": …, "message": …} as the runtime raised
it. What it and its libraries print tells a shortage from a fault of the file.
"""

import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trtserve.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable, of_kind
from trtserve.shortage import RETRY_AFTER_S, shortage_in

SAID_CHARACTERS = 2000  # kept from the end of what a child prints
CHUNK_BYTES = 64 * 1024
PAUSE_S = 0.005  # after a full chunk: a child that prints without end waits, and not the event loop
FROM_OUTSIDE = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}  # no file raises these


class PlanCrashed(InvalidInput):
    """The file ended the process that worked on it."""


@dataclass(frozen=True)
class Work:
    """What a child does, in the words of its errors."""

    name: str  # begins a sentence: "The plan's trial load in a process of its own"
    crash: str  # begins a sentence, and the library follows: "The plan crashed"
    undone: str  # what did not happen: "nothing was loaded"
    where: str = ""  # what the child was doing, behind the library's name: " in a trial load"


def failure_of(
    work: Work, report: object, exit_code: int, words: str, *, library: str, crashed: str
) -> TrtserveError | None:
    """The error that a child's end means; None if it reported success.

    `exit_code` is as in subprocess, `words` is the end of what it printed, and `crashed` a sentence that says
    what to do about a file that crashed the library.
    """
    if exit_code == -signal.SIGKILL:
        return Unavailable(
            f"{work.name} was killed (signal SIGKILL), as happens when memory runs out: {work.undone}. Free "
            "memory, or give the server more, and upload it again.",
            retry_after=RETRY_AFTER_S,
        )
    if -exit_code in FROM_OUTSIDE:
        return Unavailable(
            f"{work.name} was ended from outside (signal {signal_name(-exit_code)}): {work.undone}. Upload "
            "it again.",
            retry_after=RETRY_AFTER_S,
        )
    if exit_code < 0:
        return shortage_in(words) or PlanCrashed(
            f"{work.crash} {library}{work.where} in a process of its own (signal "
            f"{signal_name(-exit_code)}): {work.undone}. {crashed}"
        )
    match report:
        case {"ok": True}:
            return None
        case {"kind": str(kind), "message": str(message), **more}:
            after = more.get("retry_after")
            return of_kind(kind, message, after if isinstance(after, float) else None)
    last = (words.strip().splitlines() or ["it said nothing"])[-1]
    return shortage_in(words) or ExecutionFailed(
        f"{work.name} ended without a report (exit code {exit_code}; {last}): {work.undone}. The log says "
        "more at --log-level debug."
    )


def parsed(line: Sequence[bytes]) -> Any:
    """The JSON value in the line; None if it is not JSON."""
    try:
        return json.loads(b"".join(line))
    except (ValueError, RecursionError):
        return None


async def keep_last(count: int, stream: asyncio.StreamReader, kept: bytearray) -> None:
    """Read the stream to its end, and keep the last `count` bytes."""
    with suppress(ConnectionError):
        while chunk := await stream.read(CHUNK_BYTES):
            kept += chunk
            del kept[:-count]
            if len(chunk) == CHUNK_BYTES:
                await asyncio.sleep(PAUSE_S)


def last_words(kept: bytearray) -> str:
    """The end of what a child printed, of which `kept` has at least as many bytes."""
    return kept.decode(errors="replace")[-SAID_CHARACTERS:]


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return str(number)
