"""Runs modules in a process whose memory is short, and prints how each ended: a line of JSON for each."""

import json
import resource
import sys
from pathlib import Path

import numpy as np

from tests.seam.backends.torchscript.modules import write_code
from tests.seam.conftest import Harness

MIB = 1024 * 1024
LEFT = 800 * MIB
"""What the process may take once its engines are loaded."""
N, ONE = {"n": ("INT64", [1])}, {"y": ("INT64", [1])}
FEW, MANY = 3, 10**9
HEAD = "def forward(self, n: Tensor) -> Tensor:\n    k = int(n.item())\n    "
BODIES = {
    "many tensors in a loop": """
    made: List[Tensor] = []
    for _ in range(k):
        made.append(torch.zeros([2097152 + k]))
    return torch.tensor([len(made)])""",
    "a tensor": """
    return torch.zeros([k], dtype=torch.int64)[:1] + 3""",
    "elements that are added one by one": """
    made: List[int] = []
    for i in range(k):
        made.append(i)
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
    "more sections than a tensor has places": """
    return torch.tensor([len(torch.tensor_split(n, k))])""",
    "characters as strings": """
    made = list("a".ljust(min(k, 20000000)))
    return torch.tensor([len(made)])""",
}


def main(folder: Path) -> None:
    harness = Harness(folder)
    engines = {}
    for i, (name, body) in enumerate(BODIES.items()):
        path = write_code(folder / f"{i}.pt", HEAD + body.strip() + "\n", inputs=N, outputs=ONE)
        engines[name] = harness.load_file(path, "torchscript", instances=1)
    harness.infer(engines["a range"], n=np.array([FEW]))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + LEFT, taken + LEFT))
    for name, engine in engines.items():
        (many,) = harness.wait(harness.submit(engine, n=np.array([MANY])))
        after = int(harness.infer(engine, n=np.array([FEW]))["y"][0])
        ended = {"name": name, "kind": many.kind, "message": many.message, "after": after}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
