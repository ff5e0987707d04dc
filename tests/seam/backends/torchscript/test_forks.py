"""Tests of tasks that a module forks, and that could change what others use at the same time."""

import pytest

from tests.seam.backends.torchscript.modules import write_code
from tests.seam.conftest import Harness
from tests.submitting import submit

STRINGS = {"x": ("BYTES", [-1])}
# A task that changes `shared` for long, its argument, how it begins, and what the module then sees of it.
CASES = {
    "a list": ("List[int]", "shared.append(i)", "torch.jit.annotate(List[int], [])", "len(shared)", 50001),
    "a list in a tuple": (
        "Tuple[List[int], int]",
        "shared[0].append(i)",
        "(torch.jit.annotate(List[int], []), 7)",
        "len(shared[0])",
        50001,
    ),
    "a dictionary": (
        "Dict[int, int]",
        "shared[i] = i",
        "torch.jit.annotate(Dict[int, int], {})",
        "len(shared)",
        50001,
    ),
    "the shape of a tensor": ("Tensor", "shared.t_()", "torch.ones(1, 2)", "shared.size(0)", 2),
    "a tensor that is made larger": (
        "Tensor",
        "torch.add(torch.ones(i // 10001), 1, out=shared)",
        "torch.ones(0)",
        "shared.numel()",
        4,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_task_that_changes_what_others_use_runs_where_it_is_forked(harness: Harness, case: str) -> None:
    argument, change, beginning, seen, expected = CASES[case]
    code = f"""
def task(self, shared: {argument}) -> int:
    for i in range(50001):
        {change}
    return {seen}
def forward(self, x: List[str]) -> List[str]:
    shared = {beginning}
    future = torch.jit.fork(self.task, shared)
    seen = {seen}
    return [str(seen), str(torch.jit.wait(future))]
"""
    path = write_code(harness.folder / "module.pt", code, inputs=STRINGS, outputs={"y": ("BYTES", [-1])})
    engine = harness.load_file(path, "torchscript", device="cpu")
    (completion,) = harness.wait(submit(harness.runtime, engine, [("x", "BYTES", [0], b"")]))
    assert completion.kind is None, completion.message
    number = str(expected).encode()
    assert bytes(completion.outputs[0]) == (len(number).to_bytes(4, "little") + number) * 2
