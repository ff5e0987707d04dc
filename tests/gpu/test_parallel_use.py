"""A test of many threads that ask two contexts of a real plan, in every way at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import torch

from tests.gpu.effort import SECONDS
from tests.gpu.models import named
from tests.gpu.models.model import Model, Values, random
from tests.gpu.real import DEVICE, RealTensorRt

pytestmark = pytest.mark.gpu
THREADS = 8


class Asked:
    """Cases of the model mlp_2_profiles_f32 for every batch size, with right answers. Immutable."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cases: list[Values] = [{"x": random(n, 32, seed=n)} for n in range(1, 65)]
        self.inputs = [case["x"].to(DEVICE) for case in self.cases]
        self.right = [model.expected(case)["y"].to(DEVICE) for case in self.cases]
        self.tolerance = model.tolerance

    def check(self, i: int, y: torch.Tensor) -> None:
        right = self.right[i]
        assert y.shape == right.shape
        assert torch.allclose(y, right, self.tolerance.relative, self.tolerance.absolute), (
            f"a batch of {i + 1} is off by up to {(y - right).abs().max()}"
        )


def sizes(seed: int) -> count:
    """Numbers that, modulo 64, go through every batch size, each thread from another one."""
    return count(seed * 7, 5)


def test_eight_threads_on_two_contexts_get_their_own_answers(real: RealTensorRt) -> None:
    """Half of the threads have streams of their own, half call on the default stream; the scheduler's
    requests come in between. Graphs are on, and every batch has another size."""
    model = named("mlp_2_profiles_f32")
    engine = real.load_model(model, instances=2, cuda_graphs="on")
    asked = Asked(model)
    deadline = time.monotonic() + SECONDS
    failed = threading.Event()

    def over() -> bool:
        return failed.is_set() or time.monotonic() > deadline

    def ask(seed: int) -> int:
        stream = torch.cuda.Stream() if seed % 2 else torch.cuda.default_stream()
        answers = 0
        with torch.cuda.stream(stream):
            for i in sizes(seed):
                if over():
                    return answers
                # A few sizes come again and again, so that their graphs are replayed.
                at = i % 64 if i % 3 else i % 4
                (y,) = torch.ops.trt.execute_engine_list(engine, [asked.inputs[at]])
                asked.check(at, y)
                answers += 1
        raise AssertionError("sizes() ends")

    def guarded(seed: int) -> int:
        try:
            return ask(seed)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(THREADS) as pool:
        eager = [pool.submit(guarded, seed) for seed in range(THREADS)]
        scheduled = 0
        try:
            while not over():
                cases = [asked.cases[(scheduled + i) % 64] for i in range(16)]
                for case, answer in zip(
                    cases, real.answers(*(real.queue(engine, case) for case in cases)), strict=True
                ):
                    model.agrees(answer, case)
                scheduled += len(cases)
        finally:
            failed.set()  # the threads end, even if this one failed
        answers = [each.result() for each in eager]
    counters = real.stats(engine).counters
    print(f"\n{sum(answers)} answers to threads, {scheduled} to requests; {counters}")
    assert min(answers) > 0
    assert counters["cuda_graphs_disabled"] == 0
    assert counters["cuda_graph_captures"] > 0
    assert counters["cuda_graph_replays"] > 0
