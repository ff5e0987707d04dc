"""Tests of the real TensorRT library, lean or full, with plans that it cannot load; `-s` shows
measurements."""

from pathlib import Path

import psutil
import pytest
import torch

import runtime_ext
from tests.gpu.conftest import MODERN
from tests.gpu.memory import HOST_GROWTH_BYTES, check_flat, memory
from tests.gpu.served import serving
from tests.seam.conftest import Harness

pytestmark = pytest.mark.gpu

# The header of a plan of TensorRT 10.0.0.0, older than any library here, followed by garbage.
GARBAGE = b"ftrt" + bytes(20) + bytes([10, 0, 0, 0]) + bytes(range(256)) * 16
FAILED_LOADS = 200


def refuse(tensorrt: Harness, plan: Path) -> str:
    with pytest.raises(runtime_ext.Error) as refused:
        tensorrt.load_file(plan, MODERN)
    assert refused.value.kind == "InvalidInput"
    return str(refused.value)


def test_the_library_reports_its_version(tensorrt: Harness) -> None:
    version = tensorrt.runtime.backend_version(MODERN)
    print(f"\nTensorRT {version} on {torch.cuda.get_device_name()}, torch {torch.__version__}")
    assert version.split(".")[0] in {"10", "11"}


@pytest.mark.parametrize("plan", [GARBAGE, GARBAGE[:40], b"ftrt"], ids=["garbage", "cut", "magic"])
def test_a_damaged_plan_is_refused_in_the_librarys_words(
    tensorrt: Harness, tmp_path: Path, plan: bytes
) -> None:
    file = tmp_path / "damaged.plan"
    file.write_bytes(plan)
    sentence = refuse(tensorrt, file)
    print(f"\n{sentence}")
    assert "cannot load the plan: " in sentence
    assert runtime_ext.take_log(), "TensorRT's lines did not reach the log"


def test_failed_loads_free_every_byte(tensorrt: Harness, tmp_path: Path) -> None:
    file = tmp_path / "damaged.plan"
    file.write_bytes(GARBAGE)
    check_flat(lambda: refuse(tensorrt, file), FAILED_LOADS, settle=5)


def test_a_missing_device_is_refused(tensorrt: Harness, tmp_path: Path) -> None:
    file = tmp_path / "damaged.plan"
    file.write_bytes(GARBAGE)
    with pytest.raises(runtime_ext.Error, match="device is 'cuda:99'; this machine has"):
        tensorrt.load_file(file, MODERN, device="cuda:99")


def test_a_server_does_not_grow_with_refused_plans(tensorrt: Harness, tmp_path: Path) -> None:
    """The service on the real library reports its version, refuses plans, and does not grow."""
    tensorrt.runtime.close()
    with serving(tmp_path, "--trial-load", "off") as server:
        print(f"\n{server.client.get('/version').json()}")
        process = psutil.Process(server.process.pid)

        def upload() -> object:
            answer = server.client.post("/engines", content=GARBAGE, params={"format": "tensorrt"})
            assert answer.status_code == 400
            return answer.json()

        print(upload())
        for _ in range(5):
            upload()
        before = process.memory_info().rss, memory()["device"]
        for _ in range(FAILED_LOADS):
            upload()
        after = process.memory_info().rss, memory()["device"]
        print(f"{FAILED_LOADS} failed uploads: host, device {before} -> {after}")
        assert after[1] == before[1]
        assert after[0] - before[0] < 2 * HOST_GROWTH_BYTES
        assert server.client.get("/health/ready").status_code == 200
        print(server.log[-3000:])


def test_the_trial_load_in_its_own_process_refuses_too(tensorrt: Harness, tmp_path: Path) -> None:
    tensorrt.runtime.close()
    with serving(tmp_path) as server:
        answer = server.client.post("/engines", content=GARBAGE, params={"format": "tensorrt"})
        print(f"\n{answer.json()}")
        assert answer.status_code == 400
