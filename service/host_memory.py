"""How much of the machine's memory this process can still have."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
KIB = 1024


def available_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP, mount: Path = MOUNT) -> int | None:
    """Bytes that are available on the machine, or in the process's control group if that has less.

    None if the system does not tell. Page cache counts as available: the kernel gives it back.
    """
    found = [_of_machine(meminfo), *(_of_group(folder) for folder in _groups(cgroup, mount))]
    return min((size for size in found if size is not None), default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * KIB
    except (OSError, ValueError, IndexError):
        pass
    return None


def _groups(cgroup: Path, mount: Path) -> list[Path]:
    """The folders of the process's control group and of those around it; a container sees only its own."""
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root = mount / "memory" if controllers else mount
        inside = root / path.lstrip("/")
        folders += [inside, *(parent for parent in inside.parents if parent.is_relative_to(root))]
    return folders


def _of_group(folder: Path) -> int | None:
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most = int((folder / limit).read_text())  # "max": none
            taken = int((folder / used).read_text())
        except (OSError, ValueError):
            continue
        return max(0, most - taken + _cached(folder))
    return None


def _cached(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):
        return 0
