"""Budgets of memory as text, and what the machine has."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime_ext import available_host_memory
from trtserve.settings import Settings, read_budget
from trtserve.text import shown_bytes

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def test_a_budget_has_a_size_for_each_device() -> None:
    assert read_budget("cuda:0=20GiB, cpu=1.5MiB,cuda:12=7") == {
        "cuda:0": 20 * GIB,
        "cpu": int(1.5 * MIB),
        "cuda:12": 7,
    }
    assert read_budget("") == {}


@pytest.mark.parametrize(
    "text", ["cpu", "cpu=", "cpu=8GB", "cpu=-1", "gpu=8GiB", "cuda=8GiB", "cuda:01=1GiB"]
)
def test_another_text_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"sizes in B, KiB, MiB, GiB or TiB, such as cuda:0=20GiB,cpu=8GiB"):
        read_budget(text)


def test_a_device_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="each once"):
        Settings(store=tmp_path, memory_budget="cpu=1GiB,cpu=2GiB")


def test_bytes_are_shown_in_the_largest_unit_that_they_fill() -> None:
    assert [shown_bytes(size) for size in (12, 4 * KIB, 2.5 * MIB, 3.1 * GIB)] == [
        "12 B",
        "4.0 KiB",
        "2.5 MiB",
        "3.1 GiB",
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable:    800 kB\n")
    (tmp_path / "cgroup").write_text("0::/pod/container\n")
    (tmp_path / "fs" / "pod" / "container").mkdir(parents=True)
    return tmp_path


def available(machine: Path) -> int | None:
    return available_host_memory(*(str(machine / name) for name in ("meminfo", "cgroup", "fs")))


def test_the_machine_says_what_is_available(machine: Path) -> None:
    assert available(machine) == 800 * KIB


def test_the_smallest_limit_of_the_control_groups_counts_without_their_cache(machine: Path) -> None:
    (machine / "fs" / "pod" / "container" / "memory.max").write_text("max\n")
    pod = machine / "fs" / "pod"
    (pod / "memory.max").write_text(f"{600 * KIB}\n")
    (pod / "memory.current").write_text(f"{500 * KIB}\n")
    (pod / "memory.stat").write_text(f"anon 7\ninactive_file {300 * KIB}\n")
    assert available(machine) == 400 * KIB
    (pod / "memory.stat").write_text(f"anon 7\ninactive_file {300 * KIB}\nactive_file {50 * KIB}\n")
    assert available(machine) == 450 * KIB


def test_the_limit_of_an_older_control_group_counts(machine: Path) -> None:
    (machine / "cgroup").write_text("3:cpu:/a\n2:memory:/a\n")
    group = machine / "fs" / "memory" / "a"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{90 * KIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{50 * KIB}\n")
    assert available(machine) == 40 * KIB


def test_a_system_that_does_not_tell_has_no_answer(tmp_path: Path) -> None:
    assert available(tmp_path) is None
