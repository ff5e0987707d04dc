"""The child process: reports the cases and what no request can carry in each, then runs the cases it
reads."""

import json
import sys
import tempfile
from pathlib import Path

from tests.onnx_suite.cases import load
from tests.onnx_suite.sides import OpenVino, Outcome, Side, Trtserve


def main() -> None:
    cases = load()
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Side] = {"openvino": OpenVino(Path(folder)), "trtserve": Trtserve(Path(folder))}
        tell({name: case.beyond_us() for name, case in cases.items()})
        for line in sys.stdin:
            side, name = json.loads(line)
            try:
                outcome = sides[side].run(cases[name])
            except Exception as error:  # an error of the suite itself, reported as such
                outcome = Outcome("wrong", f"{type(error).__name__}: {error}")
            tell(outcome)


def tell(what: object) -> None:
    print("\n" + json.dumps(what), flush=True)  # on its own line, whatever a library has printed


if __name__ == "__main__":
    main()
