"""Any order of loads, requests, operator calls, evictions, unloads, deletes and deaths of devices keeps the
promises of an engine on several devices with little memory.

Each request and each call ends once, with the right answer or for a reason that there is; a lease outlasts
the unload that comes during it; and the memory of what is gone is free. A seed makes the list of steps, and
the threads below the seam run freely. By default a few hundred steps run; RESIDENCY_STEPS=10000 runs that
many.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt, next_doomed_device, running
from tests.seam.conftest import to_numpy

STEPS = int(os.environ.get("RESIDENCY_STEPS", "300"))
SEED = int(os.environ.get("RESIDENCY_SEED", "17"))
STEPS_PER_DEATH = max(75, STEPS // 24)  # a dead device stays dead until the process ends, and there are few
IDS = range(1, 7)
WEIGHTS = 256 << 10
HOLDS = 4  # engines on a device
SLACK = 192 << 10  # for the tensors of requests
OPEN_AT_MOST = 48
REASON = b"an illegal address"
NOT_THERE = "there is no engine"


@dataclass
class Life:
    """One life of an engine, from a load to its unload."""

    id: int
    devices: list[int]
    counted: list[int]  # the successes that were seen, in one entry; an eviction hands it to the next life
    unloaded: bool = False


def attempt(step: Callable[[], object]) -> runtime_ext.Error | None:
    try:
        step()
    except runtime_ext.Error as refused:
        return refused.with_traceback(None)  # its frames hold the runtime
    return None


@dataclass
class Machine:
    """The engines on two devices, and what is under way."""

    trt: TensorRt
    threads: ThreadPoolExecutor
    devices: list[int]
    rng: random.Random
    lives: dict[int, Life] = field(default_factory=dict)
    open: dict[int, tuple[Life, np.ndarray]] = field(default_factory=dict)  # by ticket
    calls: list[tuple[Life, torch.Tensor, Future[torch.Tensor]]] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)
    evicted: dict[int, list[int]] = field(default_factory=dict)  # what their next lives go on counting in
    seen: Counter[str] = field(default_factory=Counter)

    # -- steps

    def load(self, id: int) -> None:
        devices = self.rng.choice([self.devices, self.devices[::-1], self.devices[:1], self.devices[1:]])
        plan = self.trt.folder / f"{id}.plan"
        plan.write_bytes(self.trt.plan(f"{DOUBLE}\nweights {WEIGHTS}\nscratch 1024 per_item"))
        options = runtime_ext.LoadOptions(
            device=",".join(f"cuda:{device}" for device in devices),
            instances=self.rng.randint(1, 2),
            cuda_graphs=self.rng.choice(["off", "auto"]),
            batch=runtime_ext.BatchOptions(max_batch_size=self.rng.choice([1, 8])),
        )
        alive = [device for device in devices if device not in self.dead]
        refused = attempt(lambda: self.trt.runtime.load(id, str(plan), "trt", options))
        if refused is not None:
            assert refused.kind == ("Conflict" if id in self.lives else "Unavailable")
            short = "memory" in str(refused) or "allocate" in str(refused)
            assert id in self.lives or not alive or short, str(refused)
            self.seen["load refused"] += 1
            return
        assert id not in self.lives
        info = self.trt.runtime.engine(id)
        assert info.devices == [f"fake:{device}" for device in alive]
        assert self.trt.runtime.memory(id)[info.devices[0]]["weights"] >= WEIGHTS
        self.lives[id] = Life(id, devices, self.evicted.pop(id, [0]))
        self.seen[f"load on {len(alive)} of {len(devices)}"] += 1

    def request(self, id: int) -> None:
        if id not in self.lives:
            refused = attempt(lambda: self.trt.submit(id, x=np.ones((1, 4), np.float32)))
            assert refused is not None
            assert refused.kind == "NotFound"
            return
        for _ in range(self.rng.randint(1, 6)):
            x = np.full((self.rng.randint(1, 4), 4), self.rng.randint(1, 999), np.float32)
            self.open[self.trt.submit(id, x=x)] = self.lives[id], x
        if len(self.open) > OPEN_AT_MOST:
            self.answer()

    def call(self, id: int) -> None:
        """Begin a call of the operator, which leases a context, in a thread."""
        if id in self.lives:
            x = torch.full((2, 4), float(self.rng.randint(1, 999)))
            called = self.threads.submit(self.trt.module(id), x)
            self.calls.append((self.lives[id], x, called))

    def answer(self) -> None:
        """Everything that was sent has one end, and the right one."""
        for (life, x), end in zip(self.open.values(), self.trt.wait(*self.open), strict=True):
            self.seen[f"request {end.kind}"] += 1
            if end.kind is None:
                assert np.array_equal(to_numpy(end.outputs[0]), 2 * x)
                life.counted[0] += 1
            else:
                assert end.kind == "Unavailable", end.message
                self.check_excuse(life, end.message)
        self.open.clear()
        self.end_calls()
        for life in self.lives.values():
            assert self.trt.stats(life.id).outcomes["Success"] == life.counted[0]

    def end_calls(self) -> None:
        for life, x, called in self.calls:
            failure = called.exception()
            self.seen[f"call {type(failure).__name__}"] += 1
            if failure is None:
                assert torch.equal(called.result(), 2 * x)
            else:
                self.check_excuse(life, str(failure), is_call=True)
        self.calls.clear()

    def check_excuse(self, life: Life, why: str, *, is_call: bool = False) -> None:
        """A request fails if its engine is unloaded, or all devices of that are dead, or memory is short. A
        call may also be the one that finds a device dead.
        """
        gone = life.unloaded and ("was unloaded" in why or NOT_THERE in why)
        short = "memory" in why
        left = set(life.devices) - self.dead
        died = ("is dead" in why or REASON.decode() in why) and (not left or (is_call and self.dead))
        assert gone or short or died, why

    def evict(self, id: int) -> None:
        """Unload an engine without work, and keep its counters."""
        if id in self.lives:
            now = self.trt.runtime.condition(id)
            if now.requests == 0 and now.leases == 0:
                self.end_life(id, keep_counts=True)

    def unload(self, id: int) -> None:
        if id in self.lives:
            self.end_life(id, keep_counts=False)

    def delete(self, id: int) -> None:
        self.unload(id)
        self.trt.runtime.forget(id)
        self.evicted.pop(id, None)

    def end_life(self, id: int, *, keep_counts: bool) -> None:
        life = self.lives.pop(id)
        life.unloaded = True
        if keep_counts:
            self.evicted[id] = life.counted
        self.seen["eviction" if keep_counts else "unload"] += 1
        self.trt.runtime.unload(id, self.rng.choice([0.0, 30.0]), keep_counts)

    def die(self) -> None:
        """One of the devices dies; the other goes on alone until the next replace()."""
        if not self.dead:
            self.dead.add(self.rng.choice(self.devices))
            self.trt.device.fake_device_break_one(next(iter(self.dead)), REASON)
            self.seen["death"] += 1

    def replace(self) -> None:
        """Unload everything, and go on with a new device instead of a dead one."""
        self.answer()
        for id in list(self.lives):
            self.unload(id)
        self.trt.await_end_of_engines()
        assert self.trt.sdk.fake_trt_allocated() == 0
        if self.dead:
            self.devices = [device for device in self.devices if device not in self.dead]
            self.devices.append(next_doomed_device(self.trt))
            self.dead.clear()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.mark.parametrize("generation", [sdk.V8, sdk.V11], ids=["v8", "v11"])
def test_any_order_of_steps_loses_no_request_and_breaks_no_lease(
    tmp_path: Path, threads: ThreadPoolExecutor, generation: sdk.Generation
) -> None:
    rng = random.Random(f"{SEED} {generation.major}")
    often = {"load": 5, "request": 6, "call": 3, "answer": 2, "evict": 2, "unload": 1, "delete": 1}
    steps = list(Counter(often).elements())
    with running(tmp_path, generation) as trt:
        machine = Machine(trt, threads, [next_doomed_device(trt), next_doomed_device(trt)], rng)
        trt.device.fake_device_limit(HOLDS * WEIGHTS + SLACK)
        for number in range(STEPS // 2):
            if number % STEPS_PER_DEATH == STEPS_PER_DEATH // 2:
                machine.die()
            elif number % STEPS_PER_DEATH == STEPS_PER_DEATH - 1:
                machine.replace()
            step = rng.choice(steps)
            if step == "answer":
                machine.answer()
            else:
                getattr(machine, step)(rng.choice(IDS))
        machine.replace()
        print(generation.major, sorted(machine.seen.items()))
        trt.device.fake_device_break(None)
        trt.runtime.close()
        trt.await_end_of_engines()
    trt.device.fake_device_count_set(1)
