"""Run ONNX's conformance cases, print a table, and report unexpected results.

python -m tests.onnx_suite --only 'test_reduce*'
"""

import argparse
import fnmatch
import sys
import tempfile
from pathlib import Path

from tests.onnx_suite.over_http import over_http
from tests.onnx_suite.process import Worker
from tests.onnx_suite.table import RIGHT, Result, problems, table, update_expected


def run(only: str) -> dict[str, Result]:
    results = {}
    with Worker() as worker:
        beyond = worker.start()
        names = fnmatch.filter(beyond, only)
        for done, name in enumerate(names):
            if done % 100 == 0:
                print(f"   {done} of {len(names)}", file=sys.stderr, flush=True)
            results[name] = Result(worker.run("openvino", name), worker.run("trtserve", name), beyond[name])
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.onnx_suite", description=__doc__)
    parser.add_argument("--only", default="*", help="a pattern of names")
    parser.add_argument("--update", action="store_true", help="rewrite the list of expected failures")
    parser.add_argument("--verbose", action="store_true", help="print the outcome of each case")
    parser.add_argument("--http", type=int, default=50, help="how many cases to run over HTTP too")
    given = parser.parse_args()

    results = run(given.only)
    if given.verbose:
        for name, result in results.items():
            print("\t".join([result.row, name, " ".join(result.theirs), " ".join(result.ours)]))
    right = [name for name, result in results.items() if result.row == RIGHT]
    sample = right[:: max(1, len(right) // given.http)] if given.http else []
    with tempfile.TemporaryDirectory() as folder:
        sent = over_http(sample, Path(folder)) if sample else {}
    print(table(results, sent))
    if given.update:
        update_expected(results)
    found = problems(results, sent)
    for problem in found:
        print(f"error: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
