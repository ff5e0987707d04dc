"""Kills, stops, starves and reconfigures servers under checked load, and says what they got wrong.

python -m tests.chaos --seconds 120 --seed 1

The seed decides which faults come, in which order, and what clients ask; where a fault hits the load, the
machine decides.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos import clients, faults
from tests.chaos.world import SHARED, World
from tests.e2e.server import Server

OF_OUR_OWN = "TRTSERVE_CHAOS_DISKS"  # set where this process may mount a disk that nobody else sees
DISK = "256m"
OUR_FRAMES = 6  # of a traceback: those of the fault and of what it asked


def run(folder: Path, seconds: float, seed: int, *, per_kind: int = 2) -> tuple[World, Counter[str]]:
    """Begin a world, and do to it what the seed says for `seconds`; return it and the faults by name."""
    kinds = list(faults.ON_ANY_DISK)
    if _mounted(folder / "disk"):
        kinds.append(faults.fill_the_disk)
    done: Counter[str] = Counter()
    over = threading.Event()
    world = World(folder, seed)
    threads = [
        clients.Client(world, ask, seed * 1000 + number * 10 + again, over)
        for number, ask in enumerate(clients.ALL)
        for again in range(per_kind)
    ]
    with world.server:
        world.begin()
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        order: list[faults.Fault] = []
        try:
            while time.monotonic() < end and not world.wrong:
                if not order:
                    order = world.chance.sample(kinds, len(kinds))  # each kind in every round
                fault = order.pop()
                print(f"{fault.__name__} {dict(world.tally)}", file=sys.stderr, flush=True)
                fault(world)
                done[fault.__name__] += 1
            world.check()
        except Exception as failure:
            at = traceback.format_exception(failure, limit=OUR_FRAMES, chain=False)
            world.fault(f"after {dict(done)}: {''.join(at)}{world.server_now()}")
        over.set()
        for thread in threads:
            thread.join(120)
            frame = sys._current_frames().get(thread.ident or 0)
            if frame is not None:
                at = "".join(traceback.format_stack(frame)[-OUR_FRAMES:])
                world.fault(f"a client {thread.name} never got an answer:\n{at}")
        if not world.wrong:
            world.ends()
            if code := world.server.stop():
                world.fault(f"the last server ended with {code}")
            world.server.start()
    left = [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(SHARED)]
    if left:
        world.fault(f"left in /dev/shm: {left}")
    if "Traceback" in world.server.log:
        world.fault(f"a traceback in the log: {world.server.log.partition('Traceback')[2][:2000]}")
    return world, done


def _mounted(folder: Path) -> bool:
    """Mount a small disk of our own, where that is possible."""
    folder.mkdir()
    if OF_OUR_OWN not in os.environ:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "chaos", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _with_disks() -> None:
    """Go on as the same program where it may mount disks, if the machine allows that."""
    unshare = ["unshare", "--map-root-user", "--mount", "--"]
    if OF_OUR_OWN in os.environ:
        return
    try:
        possible = subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    if possible:
        command = [*unshare, sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        os.execvpe(command[0], command, os.environ | {OF_OUR_OWN: "1"})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grpc-server", choices=["auto", "aio"], default="auto", help="the server's setting")
    options = parser.parse_args()
    _with_disks()
    Server.grpc_server = options.grpc_server
    with tempfile.TemporaryDirectory(prefix="trtserve-chaos-") as folder:
        try:
            world, done = run(Path(folder), options.seconds, options.seed)
        finally:
            if OF_OUR_OWN in os.environ:
                subprocess.run(["umount", "-l", Path(folder) / "disk"], capture_output=True, check=False)
    for name, number in sorted(done.items()):
        print(f"{number:8} {name}")
    for what, number in sorted(world.tally.items()):
        print(f"{number:8} {what}")
    print(f"{len(world.wrong):8} wrong")
    for wrong in world.wrong[:20]:
        print(wrong)
    return 1 if world.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
