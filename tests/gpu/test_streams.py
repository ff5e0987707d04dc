"""Tests that one engine's captures harm neither other engines nor other users of torch in the process.

torch gives out 32 streams by turns, so the user here has every one of them, whoever else has it too.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.gpu.effort import SECONDS
from tests.gpu.models import named
from tests.gpu.models.model import random
from tests.gpu.real import DEVICE, RealTensorRt

pytestmark = pytest.mark.gpu
ENGINES = 8  # beside the one that captures
POOL = 32
PENDING = 8
LASTS_S = min(SECONDS, 20.0)


class Workers:
    """Threads that repeat their work until the time is over or one of them fails."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._failed = threading.Event()

    def over(self) -> bool:
        return self._failed.is_set() or time.monotonic() > self._deadline

    def run(self, *works: Callable[[], None]) -> list[int]:
        """Repeat each work in a thread of its own; return how often each was done."""

        def repeat(work: Callable[[], None]) -> int:
            times = 0
            try:
                while not self.over():
                    work()
                    times += 1
            except BaseException:
                self._failed.set()
                raise
            return times

        with ThreadPoolExecutor(len(works)) as pool:
            return [done.result() for done in [pool.submit(repeat, work) for work in works]]


class TorchUser:
    """Copies pinned memory to the GPU and back, on each stream of torch's pool in turn, and frees the pinned
    memory and tensors while the work on them may still run. Belongs to one thread at a time."""

    def __init__(self, seed: int) -> None:
        self._streams = [torch.cuda.Stream() for _ in range(POOL)] + [torch.cuda.Stream(priority=-1)]
        self._seed = seed
        self._turn = 0
        self._pending: deque[tuple[torch.cuda.Stream, torch.Tensor, torch.Tensor]] = deque()

    def work(self) -> None:
        self._turn += 1
        stream, other = (self._streams[(self._turn + k) % len(self._streams)] for k in (0, 7))
        right = random(1 + self._turn % 50, 257, seed=self._seed + self._turn % 50)
        back = torch.empty_like(right, pin_memory=True)
        with torch.cuda.stream(stream):
            doubled = right.pin_memory().to(DEVICE, non_blocking=True) * 2
            doubled.record_stream(other)
        other.wait_stream(stream)
        with torch.cuda.stream(other):
            back.copy_(doubled, non_blocking=True)
        self._pending.append((other, back, right * 2))
        if len(self._pending) > PENDING:
            self._check(*self._pending.popleft())

    def finish(self) -> None:
        while self._pending:
            self._check(*self._pending.popleft())

    @staticmethod
    def _check(stream: torch.cuda.Stream, back: torch.Tensor, right: torch.Tensor) -> None:
        stream.synchronize()
        assert torch.equal(back, right)


def test_nine_engines_answer_rightly_while_one_captures(real: RealTensorRt) -> None:
    """The engine that captures is loaded again and again: each time all of its shapes are new to it, and its
    streams are the next ones."""
    model = named("mlp_2_profiles_f32")
    plan = real.plan(model)
    cases = [{"x": random(n, 32, seed=n)} for n in range(1, 65)]
    right = [model.expected(case)["y"].to(DEVICE) for case in cases]
    inputs = [case["x"].to(DEVICE) for case in cases]
    torch.cuda.synchronize()
    others = [real.load_file(plan, real.backend, instances=2, cuda_graphs="off") for _ in range(ENGINES)]
    captured = []

    def ask(engine: int, at: int) -> None:
        (y,) = torch.ops.trt.execute_engine_list(engine, [inputs[at]])
        assert torch.allclose(y, right[at], model.tolerance.relative, model.tolerance.absolute), (
            f"engine {engine}: a batch of {at + 1} is off by up to {(y - right[at]).abs().max()}"
        )

    def capture() -> None:
        engine = real.load_file(plan, real.backend, instances=2, cuda_graphs="on")
        for at in range(0, 64, 3):
            ask(engine, at)
        counters = real.stats(engine).counters
        assert counters["cuda_graphs_disabled"] == 0
        captured.append(counters["cuda_graph_captures"])
        real.runtime.unload(engine, 10.0)

    def caller(engine: int) -> Callable[[], None]:
        turns = iter(range(engine, 1 << 62, 7))
        return lambda: ask(engine, next(turns) % 64)

    def requests() -> None:
        tickets = [(case, real.queue(engine, case)) for engine in others for case in cases[:16:5]]
        answers = real.answers(*(ticket for _, ticket in tickets))
        for (case, _), answer in zip(tickets, answers, strict=True):
            model.agrees(answer, case)

    users = [TorchUser(1000), TorchUser(2000)]
    times = Workers(LASTS_S).run(capture, requests, *(user.work for user in users), *map(caller, others))
    print(f"\nworks done: {times}; captures: {sum(captured)}")
    assert min(times) > 0
    assert sum(captured) > 0
    for engine in others:
        for at in range(0, 64, 9):
            ask(engine, at)
    for user in users:
        user.finish()


def test_a_torch_user_is_right_while_every_request_may_capture(real: RealTensorRt) -> None:
    """More shapes rotate than an instance keeps graphs of."""
    model = named("mlp_2_profiles_f32")
    engine = real.load_model(model, instances=2, cuda_graphs="on")
    cases = [{"x": random(n, 32, seed=n)} for n in range(1, 65)]

    def requests() -> None:
        tickets = [real.queue(engine, case) for case in cases]
        for case, answer in zip(cases, real.answers(*tickets), strict=True):
            model.agrees(answer, case)

    users = [TorchUser(1000), TorchUser(2000)]
    times = Workers(LASTS_S / 2).run(requests, *(user.work for user in users))
    for user in users:
        user.finish()
    print(f"\nworks done: {times}; {real.stats(engine).counters}")
    assert min(times) > 0
    assert real.stats(engine).counters["cuda_graphs_disabled"] == 0
