"""The one-way dependencies of the design, read from the imports and includes of the sources.

routes → registry, codec, … → runtime_ext; and in C++: ops → core ← backends. An import counts wherever it
stands, also in a function or for the type checker only.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"service", "runtime_ext", "tests", "bench"}
ON_TOP = {"service.app", "service.cli", "service.server"}  # they may import routes
OPEN_TO_PYTHON = re.compile(r"pybind11/|Python\.h|torch/extension\.h|torch/csrc/jit/python|torch/python")
CUDA = re.compile(r"(cuda|cublas|cudnn|nvrtc|driver_types)[\w.]*|.*/cuda/")
TENSORRT = re.compile(r"NvInfer\w*\.h|NvOnnx\w*\.h")


class Use(NamedTuple):
    """One import or include: where it stands, and what it names."""

    file: str  # relative to the repository
    line: int
    name: str  # a module with its dots, or a header as it is written
    quoted: bool = True  # of an include: "…", not <…>

    def breaks(self, rule: str) -> str:
        return f"{self.file}:{self.line}: {self.name}: {rule}"


# -- Python


def imports(file: str, source: str) -> Iterator[Use]:
    """Our own modules that a module imports; `from service import codec` names service.codec."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(file, node)
            names = [f"{base}.{alias.name}" if _is_module(base, alias.name) else base for alias in node.names]
        else:
            continue
        yield from (Use(file, node.lineno, name) for name in names if name.split(".")[0] in OURS)


def _absolute(file: str, node: ast.ImportFrom) -> str:
    parents = file.split("/")[: -node.level] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_module(base: str, name: str) -> bool:
    folder = ROOT / base.replace(".", "/")
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def broken_by_import(use: Use) -> str | None:
    """The rule that an import breaks."""
    module = use.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    name = use.name
    if within(name, "tests", "bench"):
        return "the product imports no test and no benchmark"
    if within(module, "runtime_ext"):
        return "runtime_ext imports nothing of service" if within(name, "service") else None
    if module in {"service.errors", "service.settings"}:
        return "errors and settings import nothing of ours"
    if within(module, "service.codec"):
        allowed = within(name, "service.codec", "service.errors", "runtime_ext")
        return None if allowed else "codec imports only codec, errors and runtime_ext"
    if within(name, "service.routes") and module not in ON_TOP:
        return "only app, cli and server import routes"
    if within(name, "service.rpc") and not (within(module, "service.rpc") or module == "service.server"):
        return "only server imports rpc"
    if within(name, *ON_TOP) and module not in ON_TOP:
        return "nothing imports app, cli and server but each other"
    return None


# -- C++

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def includes(file: str, source: str) -> Iterator[Use]:
    for found in INCLUDE.finditer(source):
        line = source.count("\n", 0, found.start()) + 1
        yield Use(file, line, found[1] or found[2], quoted=found[1] is not None)


def broken_by_include(use: Use) -> str | None:
    """The rule that an include breaks."""
    layer = use.file.split("/")[1:-1]
    if not layer:
        return None  # the seam itself
    if OPEN_TO_PYTHON.match(use.name):
        return "no Python below the seam"
    if CUDA.match(use.name):
        return "no CUDA headers: devices are reached through torch's device-generic API"
    backend = "/".join(layer[:2])
    if TENSORRT.match(use.name):
        return None if backend == "backends/tensorrt" else "only backends/tensorrt knows TensorRT"
    if not use.quoted:
        return None
    allowed = {"core": ["core/"], "ops": ["core/", "ops/"], "backends": ["core/", f"{backend}/"]}[layer[0]]
    if use.name.startswith(tuple(allowed)):
        return None
    return f"{backend if layer[0] == 'backends' else layer[0]} includes only {' and '.join(allowed)}"


# -- the sources, and that each rule is one


def files(folder: str, suffixes: Sequence[str]) -> list[str]:
    paths = sorted((ROOT / folder).rglob("*"))
    return [path.relative_to(ROOT).as_posix() for path in paths if path.suffix in suffixes]


def test_every_import_goes_one_way() -> None:
    sources = [*files("service", [".py"]), *files("runtime_ext", [".py", ".pyi"])]
    assert "service/routes/infer.py" in sources
    uses = [use for file in sources for use in imports(file, (ROOT / file).read_text())]
    assert uses
    broken = [use.breaks(rule) for use in uses if (rule := broken_by_import(use))]
    assert not broken, "\n".join(broken)


def test_no_messages_of_the_protocol_are_loaded_before_a_server_starts() -> None:
    """A process has them once: one that has a client's, as a test may, cannot have ours."""
    script = "import sys, service.app, service.cli, service.server; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    modules = ended.stdout.split()
    assert "service.server" in modules
    assert not [name for name in modules if within(name, "service.rpc", "grpc", "google.protobuf")]


def test_no_test_loads_the_messages_of_the_protocol() -> None:
    """The process of the tests has those of Triton's client."""
    loading = [f"service.rpc.{name}" for name in ("answer", "infer", "methods", "request", "server")]
    uses = [use for file in files("tests", [".py"]) for use in imports(file, (ROOT / file).read_text())]
    assert any(within(use.name, "service.rpc") for use in uses)
    assert not [use for use in uses if within(use.name, *loading, "service.rpc.open_inference_pb2")]


def test_every_include_goes_one_way() -> None:
    sources = files("runtime_ext", [".h", ".cpp"])
    assert "runtime_ext/core/engine.h" in sources
    uses = [use for file in sources for use in includes(file, (ROOT / file).read_text())]
    assert uses
    broken = [use.breaks(rule) for use in uses if (rule := broken_by_include(use))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("file", "source", "rule"),
    [
        ("service/errors.py", "from service.settings import Settings", "nothing of ours"),
        ("service/settings.py", "import runtime_ext", "nothing of ours"),
        ("service/codec/json_data.py", "def f():\n    from service import registry", "codec imports only"),
        ("service/codec/__init__.py", "from ..settings import Settings", "codec imports only"),
        ("service/store.py", "from service.routes import infer", "import routes"),
        ("service/routes/infer.py", "from service import app", "nothing imports app"),
        ("service/routes/infer.py", "from service.routes.health import live", "import routes"),
        ("runtime_ext/operators.py", "if TYPE_CHECKING:\n    import service.errors", "nothing of service"),
        ("service/app.py", "from tests.fakes.runtime import FakeRuntime", "no test"),
        ("service/app.py", "from service.rpc import server", "only server imports rpc"),
        ("service/rpc/models.py", "from service.routes.models import router", "import routes"),
    ],
)
def test_a_wrong_import_is_told_with_its_file_line_and_rule(file: str, source: str, rule: str) -> None:
    (use,) = imports(file, f"import torch\n{source}\n")
    broken = broken_by_import(use)
    assert broken is not None
    assert rule in broken
    assert use.breaks(broken).startswith(f"{file}:{1 + len(source.splitlines())}: ")


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("runtime_ext/core/engine.h", '#include "ops/wrapper.h"', "core includes only core/"),
        ("runtime_ext/core/engine.h", '#include "engine.h"', "core includes only core/"),
        ("runtime_ext/ops/wrapper.cpp", '#include "backends/openvino/backend.h"', "only core/ and ops/"),
        ("runtime_ext/backends/openvino/a.cpp", '#include "ops/wrapper.h"', "openvino includes only core/"),
        ("runtime_ext/backends/tensorrt/a.h", '#include "backends/openvino/b.h"', "includes only core/"),
        ("runtime_ext/core/a.cpp", "#include <pybind11/pybind11.h>", "no Python"),
        ("runtime_ext/ops/a.cpp", "  #  include <Python.h>", "no Python"),
        ("runtime_ext/ops/a.cpp", "#include <torch/csrc/jit/python/pybind_utils.h>", "no Python"),
        ("runtime_ext/backends/tensorrt/a.cpp", "#include <cuda_runtime_api.h>", "no CUDA"),
        ("runtime_ext/core/a.cpp", "#include <c10/cuda/CUDAStream.h>", "no CUDA"),
        ("runtime_ext/core/a.cpp", "#include <NvInferRuntime.h>", "only backends/tensorrt"),
    ],
)
def test_a_wrong_include_is_told_with_its_file_line_and_rule(file: str, line: str, rule: str) -> None:
    (use,) = includes(file, f'// #include "a/comment.h"\n{line}\n')
    broken = broken_by_include(use)
    assert broken is not None
    assert rule in broken
    assert use.breaks(broken).startswith(f"{file}:2: ")
