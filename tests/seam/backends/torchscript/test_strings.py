"""Tests of strings in modules: text and bytes, in and out, in batches, and what is refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from runtime_ext.batch_check import why_not_joined
from tests.seam.backends.torchscript.modules import Tensors, write_code
from tests.seam.conftest import Gates, Harness
from tests.submitting import submit

TEXT: Tensors = {"x": ("BYTES", [-1])}
LABELS: Tensors = {"y": ("BYTES", [-1])}
LENGTHS = "def forward(self, x: List[Tensor]) -> Tensor:\n    return torch.tensor([t.numel() for t in x])\n"
UPPER = "def forward(self, x: List[str]) -> List[str]:\n    return [t.upper() for t in x]\n"
REVERSED = "def forward(self, x: List[Tensor]) -> List[Tensor]:\n    return [t.flip(0) for t in x]\n"


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def loaded(
    harness: Harness,
    code: str,
    inputs: Tensors = TEXT,
    outputs: Tensors = LABELS,
    **options: object,
) -> int:
    path = write_code(harness.folder / "module.pt", code, inputs=inputs, outputs=outputs)
    return harness.load_file(path, "torchscript", device="cpu", **options)


def ask(harness: Harness, engine: int, data: bytes, shape: list[int]) -> int:
    return submit(harness.runtime, engine, [("x", "BYTES", shape, data)])


def answer(
    harness: Harness, engine: int, *elements: bytes, shape: list[int] | None = None
) -> runtime_ext.Output:
    shape = [len(elements)] if shape is None else shape
    (completion,) = harness.wait(ask(harness, engine, packed(*elements), shape))
    assert completion.kind is None, completion.message
    (output,) = completion.outputs
    return output


def test_text_goes_in_and_out(harness: Harness) -> None:
    engine = loaded(harness, UPPER)
    info = harness.runtime.engine(engine)
    assert [(spec.name, spec.datatype, spec.shape) for spec in (*info.inputs, *info.outputs)] == [
        ("x", "BYTES", [-1]),
        ("y", "BYTES", [-1]),
    ]
    y = answer(harness, engine, b"cat", b"", "é\0d".encode())
    assert (y.datatype, y.shape, bytes(y)) == ("BYTES", [3], packed(b"CAT", b"", "é\0D".encode()))
    assert bytes(answer(harness, engine)) == b""


def test_no_strings_keep_the_other_dimensions(harness: Harness) -> None:
    engine = loaded(harness, UPPER, {"x": ("BYTES", [-1, 2])}, {"y": ("BYTES", [2, -1])})
    y = answer(harness, engine, shape=[0, 2])
    assert (y.shape, bytes(y)) == ([2, 0], b"")


def test_bytes_that_are_no_text_go_in_and_out(harness: Harness) -> None:
    engine = loaded(harness, REVERSED)
    long = bytes(range(256)) * 1000
    assert bytes(answer(harness, engine, b"\xff\0\x80", b"", long)) == packed(b"\x80\0\xff", b"", long[::-1])


def test_a_shape_with_more_dimensions_is_a_flat_list_in_the_module(harness: Harness) -> None:
    engine = loaded(harness, UPPER, {"x": ("BYTES", [-1, 2])}, {"y": ("BYTES", [2, -1])})
    y = answer(harness, engine, b"a", b"b", b"c", b"d", b"e", b"f", shape=[3, 2])
    assert (y.shape, bytes(y)) == ([2, 3], packed(b"A", b"B", b"C", b"D", b"E", b"F"))


@pytest.mark.parametrize("dim", [0, 1])
def test_requests_with_strings_are_joined_and_divided(harness: Harness, gates: Gates, dim: int) -> None:
    shape = [1, 1]
    shape[dim] = -1
    code = """
def forward(self, x: List[str]) -> Tuple[List[str], Tensor]:
    return [t.upper() for t in x], torch.full([len(x)], len(x)).reshape(self.shape)
""".replace("self.shape", str(shape))
    outputs: Tensors = {"y": ("BYTES", shape), "n": ("INT64", shape)}
    engine = loaded(
        harness,
        code,
        {"x": ("BYTES", shape)},
        outputs,
        batch=runtime_ext.BatchOptions(
            max_batch_size=6,
            max_queue_delay_us=10_000_000,
            batch_dims=dict.fromkeys(("x", "y", "n"), dim),
        ),
    )
    tickets = []
    for elements in ([b"a", b"bb"], [b"", b"dddd", b"e"], [b"f"]):
        own = [1, 1]
        own[dim] = len(elements)
        tickets.append(ask(harness, engine, packed(*elements), own))
    one, two, three = harness.wait(*tickets)
    assert [bytes(completion.outputs[0]) for completion in (one, two, three)] == [
        packed(b"A", b"BB"),
        packed(b"", b"DDDD", b"E"),
        packed(b"F"),
    ]
    assert np.frombuffer(two.outputs[1], np.int64).tolist() == [6, 6, 6]


@pytest.mark.parametrize(("strings", "together"), [(2**19, 2), (2**19 + 1, 1)])
def test_no_batch_has_more_strings_than_a_request_may_have(
    harness: Harness, strings: int, together: int
) -> None:
    engine = loaded(
        harness,
        "def forward(self, x: List[str], m: Tensor) -> Tensor:\n    return m + len(x)\n",
        {"x": ("BYTES", [-1, -1]), "m": ("INT64", [-1])},
        {"n": ("INT64", [-1])},
        batch=runtime_ext.BatchOptions(max_batch_size=2, max_queue_delay_us=10_000_000),
    )
    inputs = [("x", "BYTES", [1, strings], bytes(4 * strings)), ("m", "INT64", [1], bytes(8))]
    for completion in harness.wait(*(submit(harness.runtime, engine, inputs) for _ in range(2))):
        assert completion.kind is None, completion.message
        assert np.frombuffer(completion.outputs[0], np.int64).tolist() == [together * strings]


def test_numbers_and_strings_may_be_mixed(harness: Harness) -> None:
    engine = loaded(harness, LENGTHS, outputs={"n": ("INT64", [-1])})
    assert np.frombuffer(answer(harness, engine, b"abc", b"", b"\xff"), np.int64).tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("data", "shape", "sentence"),
    [
        (packed(b"abc"), [2], "input 'x' has 1 strings; its shape takes 2"),
        (packed(b"a", b"b"), [1], "input 'x' has more than 1 strings"),
        (packed(b"abc") + b"\1\0\0", [2], "element 1 has 3 of the 4 bytes of its length"),
        (packed(b"abc", b"d")[:-1], [2], "element 1 is 1 bytes long, and 0 are left"),
        (b"\xff\xff\xff\xff", [1], "element 0 is 4294967295 bytes long"),
        (packed(b"ok", b"\xff"), [2], "element 1 is not UTF-8; the engine takes text"),
        (b"", [2**20 + 1], "has 1048577 strings; at most 1048576 are allowed"),
    ],
)
def test_malformed_strings_are_refused_before_they_are_queued(
    harness: Harness, data: bytes, shape: list[int], sentence: str
) -> None:
    engine = loaded(harness, UPPER)
    with pytest.raises(runtime_ext.Error, match=sentence) as refused:
        ask(harness, engine, data, shape)
    assert refused.value.kind == "InvalidInput"


@pytest.mark.parametrize(
    ("code", "outputs", "sentence"),
    [
        (
            UPPER.replace("upper() for t in x", "upper() for t in x[:1]"),
            {"y": ("BYTES", [2])},
            "has 1 strings",
        ),
        (REVERSED.replace("t.flip(0)", "t.long()"), LABELS, "an element that is no UINT8 tensor"),
        (REVERSED.replace("t.flip(0)", "t[None]"), LABELS, "an element that is no UINT8 tensor"),
    ],
)
def test_strings_other_than_described_fail_the_request(
    harness: Harness, code: str, outputs: Tensors, sentence: str
) -> None:
    engine = loaded(harness, code, outputs=outputs)
    (completion,) = harness.wait(ask(harness, engine, packed(b"a", b"b"), [2]))
    assert completion.kind == "ExecutionFailed"
    assert sentence in completion.message


@pytest.mark.parametrize(
    ("code", "inputs", "outputs", "sentence"),
    [
        (UPPER, {"x": ("FP32", [-1])}, LABELS, "the input 'x' the datatype FP32"),
        (UPPER, TEXT, {"y": ("FP32", [-1])}, "the output 'y' the datatype FP32"),
        (LENGTHS, TEXT, LABELS, "strings are List"),
        (UPPER, TEXT, {"y": ("BYTES", [-1, -1])}, "several dimensions that vary"),
        (
            "def forward(self, x: List[int]) -> Tensor:\n    return torch.tensor(x)\n",
            TEXT,
            LABELS,
            "List.int.",
        ),
    ],
)
def test_a_description_that_does_not_fit_the_lists_is_refused(
    harness: Harness, code: str, inputs: Tensors, outputs: Tensors, sentence: str
) -> None:
    with pytest.raises(runtime_ext.Error, match=sentence) as refused:
        loaded(harness, code, inputs, outputs)
    assert refused.value.kind == "InvalidInput"


def test_neither_programs_nor_modules_call_an_engine_with_strings(harness: Harness, tmp_path: Path) -> None:
    strings = loaded(harness, UPPER)
    forged = torch.zeros(1, dtype=torch.complex128)  # as large as what the core has in its tensors of strings
    with pytest.raises(runtime_ext.Error, match=r"has strings \('x'\), which requests can have"):
        torch.ops.trt.execute_engine_list(strings, [forged])
    code = f"""
def forward(self, x: Tensor) -> Tensor:
    z = torch.complex(x.double(), x.double())
    return torch.real(torch.ops.trt.execute_engine_list({strings}, [z])[0]).float()
"""
    rows: Tensors = {"x": ("FP32", [-1])}
    caller = harness.load_file(
        write_code(tmp_path / "calls.pt", code, inputs=rows, outputs={"y": ("FP32", [-1])}),
        "torchscript",
        device="cpu",
    )
    (completion,) = harness.wait(harness.submit(caller, x=np.zeros(1, np.float32)))
    assert completion.kind == "InvalidInput"
    assert "no module and no program can call it" in completion.message


def test_a_module_may_write_to_its_bytes(harness: Harness) -> None:
    engine = loaded(harness, REVERSED.replace("t.flip(0)", "t.fill_(65)"))
    data = packed(b"abc")
    (completion,) = harness.wait(ask(harness, engine, data, [1]))
    assert bytes(completion.outputs[0]) == packed(b"AAA")
    assert data == packed(b"abc")


NUMBER: Tensors = {"n": ("INT64", [-1])}
AUTO: dict[str, tuple[str, Tensors, str]] = {
    "upper case": (UPPER, LABELS, ""),
    "reversed bytes": (REVERSED, LABELS, ""),
    "lengths": (LENGTHS, NUMBER, ""),
    "whole numbers": (
        "def forward(self, x: List[str]) -> Tensor:\n    return torch.tensor([int(t) for t in x])\n",
        NUMBER,
        "",
    ),
    "the longest": (
        "def forward(self, x: List[str]) -> Tensor:\n"
        "    n = max([len(t) for t in x])\n"
        "    return torch.tensor([n - len(t) + len(t) * n for t in x])\n",
        NUMBER,
        "depends on those that it is joined with",
    ),
    "the first": (
        "def forward(self, x: List[str]) -> List[str]:\n    return [x[0] + t for t in x]\n",
        LABELS,
        "depends on those that it is joined with",
    ),
    "the same for all": (
        "def forward(self, x: List[str]) -> List[str]:\n    return ['a' for t in x]\n",
        LABELS,
        "the same for different random inputs",
    ),
    "JPEG": (
        "def forward(self, x: List[Tensor]) -> Tensor:\n"
        "    return torch.tensor([torch.ops.trt.decode_jpeg(t).size(1) for t in x])\n",
        NUMBER,
        "could not be run with random inputs",
    ),
}


@pytest.mark.parametrize("case", AUTO)
def test_the_check_of_batches_makes_up_strings(harness: Harness, case: str) -> None:
    code, outputs, why = AUTO[case]
    engine = loaded(harness, code, outputs=outputs, max_batch_size=runtime_ext.AUTO_BATCH_SIZE)
    info = harness.runtime.engine(engine)
    assert info.max_batch_size == 64
    found = why_not_joined(harness.runtime, info, {}, coarse=False)
    assert why in found
    assert bool(found) == bool(why), found
