"""Run a fuzzer: `make fuzz`, or `python -m tests.fuzz codec -max_total_time=60 [more options of libFuzzer]`.

The targets are `codec`, `heads` and `alike`. It writes its findings to build/fuzz; pass such a file as the
only argument behind the target to reproduce one.
"""

import sys
from pathlib import Path
from typing import Any

import atheris

import runtime_ext  # noqa: F401 (torch comes with it: not to be instrumented)

# The editable install has its own loader, which atheris instruments only in part.
sys.meta_path = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
with atheris.instrument_imports(
    include=["trtserve.codec", "tests.fuzz.request_heads", "tests.fuzz.alike_json"]
):
    import trtserve.codec
    import trtserve.codec.raw  # noqa: F401
    from tests.fuzz import alike_json, binary_codec, request_heads

TARGETS: dict[str, Any] = {"codec": binary_codec, "heads": request_heads, "alike": alike_json}
FOLDER = Path(__file__).parents[2] / "build" / "fuzz"
LONGEST = 4096  # bytes of an input
DEPTH = 10_000  # of nested JSON: the reference recurses


def main() -> None:
    name, *given = sys.argv[1:] or [""]
    if name not in TARGETS:
        raise SystemExit(f"error: the first argument is {name!r}; give one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    corpus, words = FOLDER / name / "corpus", FOLDER / name / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text("".join(f"{_quoted(word)}\n" for word in target.WORDS))
    sys.setrecursionlimit(DEPTH)
    options = [f"-artifact_prefix={FOLDER / name}/", f"-max_len={LONGEST}", f"-dict={words}", *given]
    if all(option.startswith("-") for option in options):
        options.append(str(corpus))
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


def _quoted(word: str) -> str:
    """A word as libFuzzer's dictionaries have it: of all escapes, they know only those of bytes."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\x{ord(c):02x}" for c in word) + '"'


main()
