"""The child process: says which cases there are and what in each is beyond us, then runs those it reads."""

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
            except (
                Exception
            ) as error:  # of the suite itself: it is told as such, and not as a case that is right
                outcome = Outcome("wrong", f"{type(error).__name__}: {error}")
            tell(outcome)


def tell(what: object) -> None:
    print("\n" + json.dumps(what), flush=True)  # on a line of its own, whatever a library has printed


if __name__ == "__main__":
    main()
