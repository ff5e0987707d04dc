"""The processor time of a process's threads, by their names: where the time of a request goes."""

from collections import Counter
from contextlib import suppress
from pathlib import Path


def cpu_us(process: int) -> Counter[str]:
    """Microseconds on a processor so far; threads of one name count together."""
    spent: Counter[str] = Counter()
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # it has ended
            name = (thread / "comm").read_text().strip()
            spent[name] += int((thread / "schedstat").read_text().split()[0]) // 1000
    return spent


def between(before: Counter[str], after: Counter[str], requests: float) -> dict[str, float]:
    """Microseconds for each request, for threads that took at least one."""
    each = {name: (spent - before[name]) / requests for name, spent in after.items()}
    return {f"cpu of {name}": value for name, value in sorted(each.items()) if value >= 1}
