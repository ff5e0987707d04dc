"""Turns the outcomes of the cases into a table, and finds unexpected ones."""

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.onnx_suite.sides import Outcome

EXPECTED = Path(__file__).with_name("expected_failures.tsv")

RIGHT = "right in both"
BETTER = "right here, but not in OpenVINO"
THEIRS = "OpenVINO itself gets it wrong, refuses it, or ends the process"
DESIGN = "refused by design: a datatype or kind of value that no request carries"
OURS = "right in OpenVINO, but not here"
CRASHED = "ends the process here, or never ends"
ROWS = (RIGHT, BETTER, THEIRS, DESIGN, OURS, CRASHED)


class Result(NamedTuple):
    """The outcomes of a case. `beyond`: what no request can carry in it; None if nothing."""

    theirs: Outcome
    ours: Outcome
    beyond: str | None

    @property
    def row(self) -> str:
        if self.ours.kind in {"crashed", "hung"}:
            return CRASHED
        if self.beyond is not None and self.ours.kind == "refused":
            return DESIGN
        if self.ours.kind == "right":
            return RIGHT if self.theirs.kind == "right" else BETTER
        return OURS if self.theirs.kind == "right" else THEIRS

    @property
    def reason(self) -> str | None:
        """Why it is not right here; None if it is."""
        if self.row in {RIGHT, BETTER}:
            return None
        if self.row == DESIGN:
            return f"by design: {self.beyond}"
        if self.row == THEIRS:
            here = f"; here: {self.ours.kind}" if self.ours.kind != self.theirs.kind else ""
            return f"OpenVINO: {self.theirs.kind}{here}"
        return f"{self.row}: {self.ours.detail}"


def table(results: dict[str, Result], over_http: dict[str, str]) -> str:
    counts = Counter(result.row for result in results.values())
    rows = {row: counts[row] for row in ROWS}
    rows[f"right over HTTP, of {len(over_http)} that were sent that way"] = list(over_http.values()).count("")
    head = (
        f"| {len(results)} cases of onnx {version('onnx')}, OpenVINO {version('openvino')} | |\n|---|---|\n"
    )
    return head + "".join(f"| {row} | {count} |\n" for row, count in rows.items())


def expected() -> dict[str, str]:
    """Return the cases that are known not to be right here, with the reasons."""
    lines = EXPECTED.read_text().splitlines() if EXPECTED.exists() else []
    return dict(line.split("\t", 1) for line in lines if line and not line.startswith("#"))


def update_expected(results: dict[str, Result]) -> None:
    kept = {name: why for name, why in expected().items() if name not in results}
    failures = {name: result.reason for name, result in results.items() if result.reason is not None}
    head = (
        "# The cases of ONNX's conformance suite that are not right here, each with its reason. Written by\n"
        f"# make onnx-suite ARGS=--update, with onnx {version('onnx')} and OpenVINO {version('openvino')}.\n"
    )
    lines = [f"{name}\t{why}\n" for name, why in sorted((kept | failures).items())]
    EXPECTED.write_text(head + "".join(lines))


def problems(results: dict[str, Result], over_http: dict[str, str]) -> list[str]:
    """Return the unexpected results; empty if there are none."""
    known = expected()
    found = [f"{name} over HTTP: {what}" for name, what in over_http.items() if what]
    for name, result in results.items():
        if result.row in {OURS, CRASHED}:
            found.append(f"{name}: {result.reason}")
        elif result.reason is None and name in known:
            found.append(f"{name}: is right, but listed as a failure ({known[name]})")
        elif result.reason is not None and name not in known:
            found.append(f"{name}: fails, but is not listed ({result.reason}: {result.ours.detail})")
    return found
