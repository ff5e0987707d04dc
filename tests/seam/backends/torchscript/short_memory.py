"""Runs modules in a process whose memory is short, and prints how each ended: a line of JSON for each."""

import json
import resource
import sys
from pathlib import Path

import numpy as np

from tests.seam.backends.torchscript.modules import write_code
from tests.seam.conftest import Harness

MIB = 1024 * 1024
LEFT, HARDLY_ANYTHING, SMALL = 800 * MIB, 100 * MIB, 400 * MIB
"""What the process may take once its engines are loaded; in a small container, before they are."""
N, ONE = {"n": ("INT64", [1])}, {"y": ("INT64", [1])}
FEW, BETWEEN, MANY = 3, 75_000_000, 10**9
"""With BETWEEN, a tensor fits into the memory, but takes of what is kept."""
HEAD = "def forward(self, n: Tensor) -> Tensor:\n    k = int(n.item())\n    "
BODIES = {
    "many tensors in a loop": """
    made: List[Tensor] = []
    for _ in range(k):
        made.append(torch.zeros([2097152 if k > 3 else k]))
    return torch.tensor([len(made)])""",
    "a tensor": """
    return torch.zeros([k], dtype=torch.int64)[:1] + 3""",
    "elements that are added one by one": """
    made: List[int] = []
    for i in range(k):
        made.append(i)
    return torch.tensor([len(made)])""",
    "short lists in a list": """
    made: List[List[List[int]]] = []
    for i in range(k):
        row: List[List[int]] = []
        for _ in range(1000):
            row.append([i, i, i, i])
        made.append(row)
    return torch.tensor([len(made)])""",
    "entries of a dictionary": """
    made: Dict[int, int] = {}
    for i in range(k):
        made[i] = i
    return torch.tensor([len(made)])""",
    "characters that are added one by one": """
    made = ""
    for i in range(k):
        made += "abcdefgh" + made[: len(made) // 2]
    return torch.tensor([len(made)])""",
    "a list that is doubled in a loop": """
    made = [1]
    for _ in range(k):
        made = made + made
    return torch.tensor([len(made)])""",
    "a list that is extended by itself": """
    made = [1]
    for _ in range(k):
        made.extend(made[:])
    return torch.tensor([len(made)])""",
    "a list that is doubled without a loop": "\n    made: List[int] = n.tolist()\n    if k > 3:\n"
    + "        made = made + made\n" * 50
    + "    return torch.tensor([len(made)])",
    "a list that is repeated": """
    made = [1] * k
    return torch.tensor([len(made)])""",
    "a range": """
    made = [i for i in range(k)]
    return torch.tensor([len(made)])""",
    "a string that is widened": """
    made = "a".ljust(k)
    return torch.tensor([len(made)])""",
    "a string whose tabs are expanded": """
    made = "\\t".expandtabs(k)
    return torch.tensor([len(made)])""",
    "a string in which others are put": """
    made = "aa"
    for _ in range(k):
        made = made.replace("a", made)
    return torch.tensor([len(made)])""",
    "strings that are joined": """
    made = "a"
    for _ in range(k):
        made = made.join([made, made, made])
    return torch.tensor([len(made)])""",
    "strings that are formatted": "\n    made = str(k)\n    if k > 3:\n"
    + "        made = '{}{}'.format(made, made)\n" * 50
    + "    return torch.tensor([len(made)])",
    "lists in lists as a string": "\n    v0 = [k, k]\n"
    + "".join(f"    v{i + 1} = [{', '.join([f'v{i}'] * 8)}]\n" for i in range(12))
    + "    made = str(v12) if k > 3 else 'abc'\n    return torch.tensor([len(made)])",
    "a list of a tensor's elements": """
    made: List[int] = n.expand(k).tolist()
    return torch.tensor([len(made)])""",
    "a tensor in pieces": """
    return torch.tensor([len(n.expand(k).unbind(0))])""",
    "an empty tensor in pieces": """
    return torch.tensor([len(n[:0].chunk(k))])""",
    "a list of empty lists": """
    made: List[List[int]] = torch.zeros([k, 0], dtype=torch.int64).tolist()
    return torch.tensor([len(made)])""",
    "tensors of one shape": """
    return torch.tensor([len(torch.broadcast_tensors([n] * min(k, 10000000)))])""",
    "tensors that are joined": """
    return torch.column_stack([n] * min(k, 10000000))[0, :1]""",
    "the largest of a tensor that is spread": """
    return n.expand(k).topk(1)[0]""",
    "more sections than a tensor has places": """
    return torch.tensor([len(torch.tensor_split(n, k))])""",
    "characters as strings": """
    made = list("a".ljust(min(k, 20000000)))
    return torch.tensor([len(made)])""",
}


def limit(left: int) -> None:
    """Let the process take `left` bytes more than it has."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + left, resource.RLIM_INFINITY))


def load(harness: Harness, name: str, body: str) -> int:
    path = harness.folder / "module.pt"
    code = HEAD + body.strip() + "\n"
    return harness.load_file(
        write_code(path, code, inputs=N, outputs=ONE), "torchscript", name=name, instances=1
    )


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def tell(harness: Harness, name: str, engine: int, n: int) -> None:
    (ended,) = harness.wait(harness.submit(engine, n=np.array([n])))
    told = {"name": name, "n": n, "kind": ended.kind, "message": ended.message, "resident": resident()}
    print(json.dumps(told), flush=True)


def run_all(harness: Harness) -> None:
    """Run each module with many and with few elements; with few ones also when hardly anything is left."""
    engines = {name: load(harness, name, body) for name, body in BODIES.items()}
    tell(harness, "before", engines["a range"], FEW)
    limit(LEFT)
    for name, engine in engines.items():
        tell(harness, name, engine, MANY)
        tell(harness, name, engine, FEW)
    tell(harness, "a tensor", engines["a tensor"], BETWEEN)
    limit(HARDLY_ANYTHING)
    tell(harness, "then much", engines["a tensor"], MANY)  # whatever comes next looks at the memory anew
    for name, engine in engines.items():
        tell(harness, f"{name}, hardly anything left", engine, FEW)


def run_in_a_small_container(harness: Harness) -> None:
    limit(SMALL)
    tell(harness, "small", load(harness, "a tensor", BODIES["a tensor"]), MANY)


if __name__ == "__main__":
    {"all": run_all, "small": run_in_a_small_container}[sys.argv[1]](Harness(Path(sys.argv[2])))
