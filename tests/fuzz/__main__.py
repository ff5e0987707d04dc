"""Run the fuzzer: `make fuzz`, or `python -m tests.fuzz -max_total_time=60 [another option of libFuzzer]`.

It writes its findings to build/fuzz; pass such a file as the only argument to reproduce one.
"""

import json
import sys
from pathlib import Path

import atheris

import runtime_ext  # noqa: F401 (torch comes with it: not to be instrumented)

# The editable install has its own loader, which atheris instruments only in part.
sys.meta_path = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
with atheris.instrument_imports(include=["trtserve.codec"]):
    import trtserve.codec
    import trtserve.codec.raw  # noqa: F401

from tests.fuzz.binary_codec import WORDS, check, seeds  # noqa: E402

FOLDER = Path(__file__).parents[2] / "build" / "fuzz"
LONGEST = 4096  # bytes of an input
DEPTH = 10_000  # of nested JSON: the reference recurses


def main() -> None:
    corpus, words = FOLDER / "corpus", FOLDER / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text("".join(f"{json.dumps(word)}\n" for word in WORDS))
    sys.setrecursionlimit(DEPTH)
    options = [f"-artifact_prefix={FOLDER}/", f"-max_len={LONGEST}", f"-dict={words}", *sys.argv[1:]]
    if all(option.startswith("-") for option in options):
        options.append(str(corpus))
    atheris.Setup([sys.argv[0], *options], check)
    atheris.Fuzz()


main()
