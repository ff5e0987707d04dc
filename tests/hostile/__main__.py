"""The sweep: runs each seed's cases in child processes, and prints a table of the bad endings."""

import argparse
import json
import os
import re
import select
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import runtime_ext
from tests.hostile import child
from tests.hostile.seeds import Seed, seeds

SILENCE_S = 20
GOOD = ("fine", "refused", "failed InvalidInput", "failed Unavailable", "failed Unsupported")


def sweep(cases: Sequence[Seed]) -> list[tuple[str, str, str, str]]:
    """Run every case; return its seed, case, ending and sentence."""
    endings: list[tuple[str, str, str, str]] = []
    skip: set[tuple[str, str]] = set()
    left = list(cases)
    while left:
        seed, case, ending = _child(left, skip, endings)
        if not ending:
            break
        endings.append((seed, case, ending, ""))
        skip.add((seed, case))
        left = left[[s.name for s in left].index(seed) :]
        done = {(s, c) for s, c, _, _ in endings if s == seed and c != "load"}
        skip |= done
    return endings


def _child(
    cases: Sequence[Seed], skip: set[tuple[str, str]], endings: list[tuple[str, str, str, str]]
) -> tuple[str, str, str]:
    """Run a child; return where and how it died, or empty strings if it finished."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        runtime = runtime_ext.create_runtime()
        with os.fdopen(write, "w") as out:
            child.run(runtime, cases, skip, out)
        os._exit(0)
    os.close(write)
    at = ("", "")
    hung = False
    with os.fdopen(read, "rb", buffering=0) as lines:
        rest = b""
        while True:
            ready, _, _ = select.select([lines], [], [], SILENCE_S)
            if not ready:
                hung = True
                os.kill(pid, signal.SIGKILL)
                break
            chunk = lines.read(65536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                what, *told = json.loads(line)
                if what == "begin":
                    at = (told[0], told[1])
                else:
                    endings.append((told[0], told[1], told[2], told[3]))
                    if not told[2].startswith(GOOD):
                        print(*told[:3], told[3][:160], flush=True)
    _, status = os.waitpid(pid, 0)
    if hung:
        return (*at, "hangs")
    if os.WIFSIGNALED(status):
        return (*at, f"died of {signal.Signals(os.WTERMSIG(status)).name}")
    return (*at, "ended") if os.WEXITSTATUS(status) else ("", "", "")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--older", action="store_true", help="the older opsets of each operator too")
    options.add_argument(
        "--per-operator", type=int, default=10_000, help="at most this many cases per operator"
    )
    options.add_argument("--only", default="", help="only seeds whose names match this regular expression")
    options.add_argument("--json", help="a file for every ending")
    given = options.parse_args()
    endings = sweep(
        [seed for seed in seeds(given.older, given.per_operator) if re.search(given.only, seed.name)]
    )
    if given.json:
        with Path(given.json).open("w") as file:
            json.dump(endings, file)
    bad = [e for e in endings if not e[2].startswith(GOOD)]
    for seed, case, ending, sentence in bad:
        print(f"{seed:50} {case:45} {ending:28} {sentence[:200]!r}")
    print(Counter(ending for _, _, ending, _ in endings))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
