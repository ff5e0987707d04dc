"""Tests of what a module must not have: it runs inside the server."""

import zipfile
from pathlib import Path

import pytest
import torch

import runtime_ext
from tests.seam.backends.torchscript.modules import from_code, write, write_code
from tests.seam.conftest import Harness


def refusal(harness: Harness, path: Path) -> str:
    """Return why the module is refused: the same sentence by an inspection and by a load."""
    with pytest.raises(runtime_ext.Error) as inspected:
        harness.runtime.inspect_module(str(path))
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(path, "torchscript", device="cpu")
    assert refused.value.kind == inspected.value.kind == "InvalidInput"
    assert str(refused.value) == str(inspected.value)
    return str(refused.value)


def rewrite(path: Path, old: str, new: str) -> Path:
    """Replace text in the source of an archive."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    assert any(old.encode() in data for name, data in records.items() if name.endswith(".py"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            is_source = name.endswith(".py")
            archive.writestr(name, data.replace(old.encode(), new.encode()) if is_source else data)
    return path


@pytest.mark.parametrize(
    ("statement", "operator"),
    [
        ("torch.save(x, '/tmp/x')", "aten::save"),
        ("x = torch.from_file('/etc/passwd', False, 4)", "aten::from_file"),
        ("torch.manual_seed(1)", "aten::manual_seed"),
        ("print(x)", "prim::Print"),
        ("x = x.resize_([1000])", "aten::resize_"),
        ("x = x + torch._cufft_get_plan_cache_size(0)", "aten::_cufft_get_plan_cache_size"),
        ("x = x.set_(x)", "aten::set_"),
        ("x = torch.ops.aten._sparse_coo_tensor_unsafe(x, x, [4])", "aten::_sparse_coo_tensor_unsafe"),
        ("x = torch.ops.aten.gelu_backward(x, x)", "aten::gelu_backward"),
        ("x = torch.native_layer_norm(x, [4], None, None, 1.0)[0]", "aten::native_layer_norm"),
        ("x = torch.ops.profiler._record_function_enter('x')", "profiler::_record_function_enter"),
        ("x = torch.ops.quantized.add_relu(x, x, 1.0, 0)", "quantized::add_relu"),
    ],
)
def test_an_operator_with_another_effect_than_its_result_is_refused(
    harness: Harness, tmp_path: Path, statement: str, operator: str
) -> None:
    code = f"""
def forward(self, x: Tensor) -> Tensor:
    {statement}
    return x
"""
    assert f"calls {operator} in " in refusal(harness, write_code(tmp_path / "m.pt", code))


SAVES = "def inner(self, x: Tensor) -> Tensor:\n    torch.save(x, 'x')\n    return x\n"
IN_BLOCKS = "for i in range(3):\n        if i > 1:\n            torch.save(x, 'x')\n    return x"


@pytest.mark.parametrize(
    ("others", "body"),
    [
        ([], IN_BLOCKS),
        ([SAVES], "return self.inner(x)"),
        ([SAVES], "return x"),  # and the other method is never called
    ],
)
def test_an_operator_is_found_wherever_it_is(
    harness: Harness, tmp_path: Path, others: list[str], body: str
) -> None:
    module = from_code(*others, f"def forward(self, x: Tensor) -> Tensor:\n    {body}\n")
    assert "aten::save" in refusal(harness, write(tmp_path / "m.pt", module))


class Forks(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(saves, x))


def saves(x: torch.Tensor) -> torch.Tensor:
    torch.save(x, "x")
    return x


def test_an_operator_is_found_in_a_fork(harness: Harness, tmp_path: Path) -> None:
    assert "aten::save" in refusal(harness, write(tmp_path / "m.pt", Forks()))


class CallsEngine(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(404, [x])[0]


@pytest.mark.parametrize("root", ["ops", "torch.ops"])
def test_the_variadic_call_of_an_engine_is_refused_with_the_one_to_use(
    harness: Harness, tmp_path: Path, root: str
) -> None:
    path = write(tmp_path / "m.pt", CallsEngine())
    rewrite(path, "ops.trt.execute_engine_list(404, [x])", f"{root}.trt.execute_engine(404, x)")
    sentence = refusal(harness, path)
    assert "calls trt::execute_engine: it takes any number of arguments" in sentence
    assert "does not type-check" in sentence
    assert "torch.ops.trt.execute_engine_list(id, [tensors]) instead" in sentence


class HasNamesakes(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trt = Namesake()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.trt.execute_engine(x)


class Namesake(torch.nn.Module):
    @torch.jit.export
    def execute_engine(self, x: torch.Tensor) -> torch.Tensor:
        return x * 3


def test_a_method_of_the_same_name_is_not_that_call(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(write(tmp_path / "m.pt", HasNamesakes()), "torchscript", device="cpu")
    x = torch.ones(1, 4).numpy()
    assert harness.infer(engine, x=x)["y"].tolist() == [[3.0] * 4]


class SetsState(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor

    @torch.jit.export
    def __getstate__(self) -> tuple[float, bool]:
        return self.factor, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[float, bool]) -> None:
        self.factor = state[0]
        self.training = state[1]


def test_code_that_would_run_at_a_load_is_refused(harness: Harness, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", SetsState())
    assert "defines __getstate__" in refusal(harness, path)
    assert "defines __setstate__" in refusal(harness, rewrite(path, "__getstate__", "other"))


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = {"a": 1}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.table["a"]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("x: Tensor", "x: Tensor=torch.from_file('/etc/passwd', False, 4)", "the default of the argument x"),
        ("training : bool", "training : Final[int] = torch.save(1, 'x')", "a value of the class Plain"),
    ],
)
def test_values_that_torch_computes_while_it_compiles_must_be_literals(
    harness: Harness, tmp_path: Path, old: str, new: str, what: str
) -> None:
    path = rewrite(write(tmp_path / "m.pt", Plain()), old, new)
    assert what in refusal(harness, path)


def test_a_custom_class_is_refused(harness: Harness, tmp_path: Path) -> None:
    quantized = torch.ao.nn.quantized.dynamic.Linear(4, 4)

    class Holds(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = quantized

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x)

    sentence = refusal(harness, write(tmp_path / "m.pt", Holds()))
    assert "custom class" in sentence or "__getstate__" in sentence


def test_a_file_that_is_no_archive_is_refused(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"PK\x03\x04 and nothing else")
    assert "torch cannot read the module" in refusal(harness, path)


def test_an_archive_of_tensors_is_refused(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"x": torch.ones(1)}, path)
    assert "send a file of torch.jit.save()" in refusal(harness, path)


def test_a_cut_archive_is_refused(harness: Harness, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", Plain())
    path.write_bytes(path.read_bytes()[:-100])
    assert "torch cannot read the module" in refusal(harness, path)


@pytest.mark.parametrize(
    ("signature", "result", "what"),
    [
        ("x: Tensor, n: int", "x", "the argument n of the module's forward is int"),
        ("x: List[int]", "torch.zeros(1)", "the argument x of the module's forward is List"),
        ("x: List[Tensor]", "x[0]", "has List[Tensor] there, which is for BYTES"),
    ],
)
def test_a_forward_of_other_things_than_tensors_is_refused(
    harness: Harness, tmp_path: Path, signature: str, result: str, what: str
) -> None:
    code = f"def forward(self, {signature}) -> Tensor:\n    return {result}\n"
    assert what in refusal(harness, write_code(tmp_path / "m.pt", code))


def test_a_forward_that_returns_something_else_is_refused(harness: Harness, tmp_path: Path) -> None:
    code = "def forward(self, x: Tensor) -> int:\n    return 1\n"
    assert "forward returns int" in refusal(harness, write_code(tmp_path / "m.pt", code))


class Keeps(torch.nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("total", torch.zeros(4))
        self.values: list[torch.Tensor] = [torch.zeros(4)]


class SetsAttribute(Keeps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total = self.total + x.sum(0)
        return x + self.total


class ChangesBuffer(Keeps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total.add_(x.sum(0))
        return x + self.total


class ChangesViewOfBuffer(Keeps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total[1:3].copy_(x[0, 1:3])
        return x + self.total


class GrowsList(Keeps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.values.append(x)
        return x + len(self.values)


class ForksWriter(Keeps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(adds_to, self.total, x))


class ForksWriterInAFork(Keeps):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(forks_writer, self.total, x))


def forks_writer(total: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.jit.wait(torch.jit.fork(adds_to, total, x))


def adds_to(total: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    total.add_(x.sum(0))
    return x + total


@pytest.mark.parametrize(
    "kind",
    [SetsAttribute, ChangesBuffer, ChangesViewOfBuffer, GrowsList, ForksWriter, ForksWriterInAFork],
    ids=lambda k: k.__name__,
)
def test_a_module_that_keeps_state_between_requests_is_refused(
    harness: Harness, tmp_path: Path, kind: type[Keeps]
) -> None:
    assert "must not keep state" in refusal(harness, write(tmp_path / "m.pt", kind("")))


def test_a_list_that_may_hold_itself_is_refused(harness: Harness, tmp_path: Path) -> None:
    """torch prints and destroys it by recursion, to the end of the stack."""
    code = (
        "def forward(self, x: Tensor) -> Tensor:\n    a: List[Any] = []\n    a.append(a)\n"
        "    return x + len(str(a))\n"
    )
    assert "may be of any type" in refusal(harness, write_code(tmp_path / "m.pt", code))
