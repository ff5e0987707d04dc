"""Tests of loads that run out of memory, threads or descriptors: Unavailable, without blaming the plan."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import doubling

DOUBLE = "input x FP32 -1 4\noutput y x 2"
ENDS_AFTER_S = 120

CHILD = """
import json, resource, sys, threading
import runtime_ext
from runtime_ext.backends import plugin_path
runtime = runtime_ext.create_runtime()
runtime.register_backend("toy", str(plugin_path("toy")))
runtime.backend_version("openvino")
backend, plan, what = sys.argv[1:]
def address_space():
    pages = int(open("/proc/self/statm").read().split()[0])
    return pages * resource.getpagesize()
keep = []
if what == "descriptors":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        while True:
            keep.append(open("/dev/null"))
    except OSError:
        pass
elif what == "memory":
    limit = address_space() + (32 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
def attempt():
    try:
        runtime.load(1, plan, backend, runtime_ext.LoadOptions())
        return {"kind": None}
    except runtime_ext.Error as error:
        return {"kind": error.kind, "message": str(error), "retry_after": error.retry_after}
first = attempt()
keep.clear()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps([first, attempt()]))
"""

SENTENCES = {
    "memory": "ran out of memory: unload engines",
    "threads": "ran out of threads: unload engines",
    "descriptors": "ran out of file descriptors: close connections",
}


@pytest.mark.parametrize("what", ["memory", "threads", "descriptors"])
def test_a_shortage_that_cpp_reports_by_an_exception_is_unavailable(harness: Harness, what: str) -> None:
    with pytest.raises(runtime_ext.Error, match=f"^the toy backend {SENTENCES[what]}") as failed:
        harness.load_toy(f"{DOUBLE}\nload_throws {what}")
    assert failed.value.kind == "Unavailable"
    assert failed.value.retry_after is not None


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("std::bad_alloc", "memory"),
        ("libx.so: failed to map segment from shared object", "memory"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", "memory"),
        ("cannot open shared object file: Too many open files", "descriptors"),
        ("pthread_create failed: Resource temporarily unavailable", "threads"),
    ],
)
def test_a_shortage_that_a_library_reports_in_words_is_unavailable(
    harness: Harness, words: str, what: str
) -> None:
    with pytest.raises(runtime_ext.Error, match=SENTENCES[what]) as failed:
        harness.load_toy(f"{DOUBLE}\nload_throws {words}")
    assert failed.value.kind == "Unavailable"


def test_any_other_failure_of_a_load_is_the_plans_fault(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error, match="the toy backend failed: bad magic") as failed:
        harness.load_toy(f"{DOUBLE}\nload_throws bad magic")
    assert (failed.value.kind, failed.value.retry_after) == ("ExecutionFailed", None)


@pytest.mark.parametrize("backend", ["toy", "openvino"])
@pytest.mark.parametrize("what", ["memory", "descriptors"])
def test_a_process_at_its_limit_refuses_a_load_and_does_it_later(
    tmp_path: Path, backend: str, what: str
) -> None:
    plan = doubling(tmp_path / "m.plan")
    if backend == "toy":
        plan.write_text(f"toy 1\n{DOUBLE}\n")
    child = [sys.executable, "-c", CHILD, backend, str(plan), what]
    ended = subprocess.run(child, capture_output=True, text=True, timeout=ENDS_AFTER_S, check=False)
    assert ended.returncode == 0, ended.stderr
    first, again = json.loads(ended.stdout)
    assert first["kind"] == "Unavailable"
    assert first["retry_after"] is not None
    assert SENTENCES[what] in first["message"]
    assert again == {"kind": None}
