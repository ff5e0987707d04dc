"""The one-way dependencies of the design, read from the imports and includes of the sources.

Of the packages in service/, each imports only packages of lower layers; in C++: ops → core ← backends, and
grpc → core. An import counts anywhere, even in a function or for the type checker only.
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
OURS = {"trtserve", "runtime_ext", "tests", "bench"}
LAYERS = (
    {"base"},  # modules directly in service/
    {"access", "client", "options", "telemetry", "tls"},
    {"formats"},
    {"store"},
    {"plans"},
    {"codec", "engines"},
    {"inference", "oip"},
    {"folder"},
    {"services"},  # a module that http and rpc receive
    {"http", "rpc"},
    {"server", "tune"},
    {"cli", "ray"},
)
"""The packages of service/, lowest first."""
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
UNIMPORTED = {"trtserve.errors", "trtserve.settings", "trtserve.version"}
"""Modules that import none of our modules."""
OPEN_TO_PYTHON = re.compile(r"pybind11/|Python\.h|torch/extension\.h|torch/csrc/jit/python|torch/python")
CUDA = re.compile(r"(cuda|cublas|cudnn|nvrtc|driver_types)[\w.]*|.*/cuda/")
NGHTTP2 = re.compile(r"nghttp2/.*")
TENSORRT = re.compile(r"NvInfer\w*\.h|NvOnnx\w*\.h")


class Use(NamedTuple):
    """One import or include: its place, and the name it imports."""

    file: str  # relative to the repository
    line: int
    name: str  # a dotted module, or a header as written
    quoted: bool = True  # for an include: "…", not <…>

    def breaks(self, rule: str) -> str:
        return f"{self.file}:{self.line}: {self.name}: {rule}"


# -- Python


def imports(file: str, source: str) -> Iterator[Use]:
    """Yield our own modules that a module imports; `from trtserve import codec` means trtserve.codec."""
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
    parents = re.sub(r"^service/", "trtserve/", file).split("/")[: -node.level] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_module(base: str, name: str) -> bool:
    folder = ROOT / re.sub(r"^trtserve\b", "service", base).replace(".", "/")
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def module_of(file: str) -> str:
    """The import name of a source file."""
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return re.sub(r"^service\b", "trtserve", name)


def package_of(module: str) -> str:
    """The package that a module of trtserve belongs to, as in LAYERS."""
    first = module.split(".")[1] if "." in module else ""
    return first if (ROOT / "service" / first).is_dir() and first else {"services": first}.get(first, "base")


def within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def broken_by_import(use: Use) -> str | None:
    """The rule that an import breaks, or None."""
    module, name = module_of(use.file), use.name
    if within(name, "tests", "bench"):
        return "the product imports no test and no benchmark"
    if within(module, "runtime_ext"):
        return "runtime_ext imports nothing of trtserve" if within(name, "trtserve") else None
    if module in UNIMPORTED:
        return f"{module} imports nothing of ours"
    if within(name, "runtime_ext") or module == "trtserve.__main__":
        return None
    importing, imported = package_of(module), package_of(name)
    if importing == imported or LAYER[imported] < LAYER[importing]:
        return None
    return f"{importing} imports only lower layers than its own, and {imported} is none"


# -- C++

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def includes(file: str, source: str) -> Iterator[Use]:
    for found in INCLUDE.finditer(source):
        line = source.count("\n", 0, found.start()) + 1
        yield Use(file, line, found[1] or found[2], quoted=found[1] is not None)


def broken_by_include(use: Use) -> str | None:
    """The rule that an include breaks, or None."""
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
    if NGHTTP2.match(use.name):
        return None if layer[0] == "grpc" else "only grpc knows nghttp2"
    if not use.quoted:
        return None
    allowed = {
        "core": ["core/"],
        "ops": ["core/", "ops/"],
        "grpc": ["core/", "grpc/"],
        "backends": ["core/", f"{backend}/"],
    }[layer[0]]
    if use.name.startswith(tuple(allowed)):
        return None
    return f"{backend if layer[0] == 'backends' else layer[0]} includes only {' and '.join(allowed)}"


# -- the sources, and examples of each rule


def files(folder: str, suffixes: Sequence[str]) -> list[str]:
    paths = sorted((ROOT / folder).rglob("*"))
    return [path.relative_to(ROOT).as_posix() for path in paths if path.suffix in suffixes]


def test_every_import_goes_one_way() -> None:
    sources = [*files("service", [".py"]), *files("runtime_ext", [".py", ".pyi"])]
    assert "service/http/routes/infer.py" in sources
    uses = [use for file in sources for use in imports(file, (ROOT / file).read_text())]
    assert uses
    broken = [use.breaks(rule) for use in uses if (rule := broken_by_import(use))]
    assert not broken, "\n".join(broken)


def test_no_protocol_messages_are_loaded_before_a_server_starts() -> None:
    """A process can load them only once: a test with a client's messages cannot load ours."""
    script = (
        "import sys, trtserve.server.app, trtserve.cli.main, trtserve.server.process; print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    modules = ended.stdout.split()
    assert "trtserve.server.app" in modules
    assert not [name for name in modules if within(name, "trtserve.rpc", "grpc", "google.protobuf")]


def test_no_test_loads_our_protocol_messages() -> None:
    """The test process has loaded those of Triton's client."""
    loading = [f"trtserve.rpc.{name}" for name in ("response", "infer", "methods", "request", "server")]
    uses = [use for file in files("tests", [".py"]) for use in imports(file, (ROOT / file).read_text())]
    assert any(within(use.name, "trtserve.rpc") for use in uses)
    assert not [use for use in uses if within(use.name, *loading, "trtserve.rpc.open_inference_pb2")]


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
        ("service/errors.py", "from trtserve.settings import Settings", "nothing of ours"),
        ("service/settings.py", "import runtime_ext", "nothing of ours"),
        ("service/text.py", "from trtserve.codec import tensor", "base imports only"),
        (
            "service/codec/json_values.py",
            "def f():\n    from trtserve.engines import lookup",
            "codec imports only",
        ),
        ("service/codec/__init__.py", "from ..inference import calls", "codec imports only"),
        ("service/store/store.py", "from trtserve.http.routes import infer", "store imports only"),
        ("service/inference/calls.py", "from trtserve.oip import describe", "inference imports only"),
        ("service/oip/describe.py", "from trtserve.rpc import wire", "oip imports only"),
        ("service/http/routes/infer.py", "from trtserve.server import app", "http imports only"),
        ("service/http/routes/infer.py", "from trtserve.rpc import status", "http imports only"),
        ("service/rpc/oip.py", "from trtserve.http.routes.models import router", "rpc imports only"),
        ("service/server/app.py", "from trtserve.cli import main", "server imports only"),
        ("service/ray/replica.py", "from trtserve.cli import main", "ray imports only"),
        ("service/client/tensors.py", "from trtserve.codec import safetensors", "client imports only"),
        ("runtime_ext/operators.py", "if TYPE_CHECKING:\n    import trtserve.errors", "nothing of trtserve"),
        ("service/server/app.py", "from tests.fakes.runtime import FakeRuntime", "no test"),
    ],
)
def test_a_wrong_import_is_reported_with_its_file_line_and_rule(file: str, source: str, rule: str) -> None:
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
        ("runtime_ext/core/a.cpp", "#include <nghttp2/nghttp2.h>", "only grpc"),
        ("runtime_ext/grpc/a.cpp", '#include "ops/wrapper.h"', "grpc includes only core/"),
    ],
)
def test_a_wrong_include_is_reported_with_its_file_line_and_rule(file: str, line: str, rule: str) -> None:
    (use,) = includes(file, f'// #include "a/comment.h"\n{line}\n')
    broken = broken_by_include(use)
    assert broken is not None
    assert rule in broken
    assert use.breaks(broken).startswith(f"{file}:2: ")
