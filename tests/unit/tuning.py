"""Inputs for the tests of `trtserve tune`, and a parser of the commands it prints."""

import shlex
from pathlib import Path
from typing import Any

from tests.fakes.engines import UNBATCHED, stored_engine
from trtserve.cli.main import main
from trtserve.tune.target import Asked, Setting, Target

ASKED = Asked(
    latency_ms=10.0, concurrency=[1, 8], budget_s=60.0, instances=[1, 2], batch=[1, 4], delay_us=[0, "auto"]
)
STORED = stored_engine(
    id=7,
    digest="d" * 64,
    format="onnx",
    backend="openvino",
    device="auto",
    instances=0,
    max_queue_size=256,
    precision="f32",
    cuda_graphs="auto",
    plan_bytes=1,
    created="2026-01-31T12:00:00.000+00:00",
    **UNBATCHED,
)
PLAN_FILE = Target(Path("net.onnx"), STORED, "net")
IN_STORE = Target(Path("store/plans/d.plan"), STORED, "net", in_store=True, names=("net",))


ONE, TWO = Setting(1, 1, 0), Setting(2, 1, 0)


def parsed(command: str) -> dict[str, Any]:
    """Parse a command with the CLI; the plan must exist."""
    program, *words = shlex.split(command)
    assert (program, words[:2]) == ("trtserve", ["engines", "add"])
    add = main.commands["engines"].commands["add"]  # type: ignore[attr-defined]
    given = add.make_context("add", words[2:]).params
    return {name: value for name, value in given.items() if value not in {None, ()}}
