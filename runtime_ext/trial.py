"""Loads one TensorRT plan in this process and reports: `python -m runtime_ext.trial`.

For plans that nobody has deserialized before: whatever one does to this process, the server's goes on.
Reads one line of JSON from stdin, the request; writes one line of JSON to stdout, the report: {"ok": true},
or {"kind": …, "message": …} as the runtime raised it. Ends early when stdin is closed, as it is when the
process that asked is gone.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

from runtime_ext import Error, LoadOptions, take_log
from runtime_ext.backends import TensorRtOptions, create_runtime

TRIAL_ID = 1  # the process holds no other engine


class Request(TypedDict):
    """What to load, and with which runtime; see LoadOptions and TensorRtOptions."""

    plan: str
    device: str
    cuda_graphs: str
    library: str | None
    plugins: list[str]
    allow_host_code: bool


def main() -> None:
    report = _own_stdout()
    request: Request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        report.write(json.dumps(attempt(request)).encode() + b"\n")
        report.flush()
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # not through the exit handlers of the libraries: the report is given


def attempt(request: Request) -> dict[str, Any]:
    """Load and unload the plan; the report."""
    library = request["library"]
    tensorrt = TensorRtOptions(
        library=None if library is None else Path(library),
        plugins=tuple(map(Path, request["plugins"])),
        allow_host_code=request["allow_host_code"],
    )
    options = LoadOptions(
        name="trial", device=request["device"], instances=1, cuda_graphs=request["cuda_graphs"]
    )
    try:
        runtime = create_runtime(tensorrt=tensorrt)
        runtime.load(TRIAL_ID, request["plan"], "tensorrt", options)
        runtime.unload(TRIAL_ID, 0.0)
        runtime.close()
    except Error as failure:
        return {"kind": failure.kind, "message": str(failure)}
    finally:
        for record in take_log():
            print(f"{record.severity}: {record.component}: {record.message}", file=sys.stderr)
    return {"ok": True}


def _own_stdout() -> BinaryIO:
    """The stdout that was given, for the report alone: what a library prints goes to stderr from here on."""
    report = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return report


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
