"""The ways without a server: the operator and the module, called from torch, and the scheduler."""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import runtime_ext
from bench.gpu import WayFailed, threads
from bench.gpu.card import Card

INSTANCES = 2
IN_FLIGHT = 2 * INSTANCES  # each instance has a request and finds the next one waiting
WARM = 16  # executions; with graphs, every instance has captured its own by then
ENGINES = {False: 1, True: 2}  # their IDs, by whether they use graphs

Execute = Callable[[], object]


class InProcess:
    """The plan, loaded into the card's runtime once with CUDA graphs and once without."""

    def __init__(self, card: Card, plan: Path) -> None:
        self._card = card
        self._runtime = card.runtime
        for graphs, engine in ENGINES.items():
            options = runtime_ext.LoadOptions(
                name=f"graphs {'on' if graphs else 'off'}",
                instances=INSTANCES,
                cuda_graphs="on" if graphs else "off",
            )
            self._runtime.load(engine, str(plan), card.backend, options)
        (self.input,) = self._runtime.engine(1).inputs
        self.outputs = self._runtime.engine(1).outputs

    def operator(self, x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
        """`trt::execute_engine_list` in a loop, with inputs and outputs on the device."""
        return self._looped(self._call(x, graphs), seconds)

    def module(self, x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
        """The engine's module in a loop."""
        module = runtime_ext.module(self._runtime, ENGINES[graphs])
        tensor = torch.from_numpy(x).to(self._card.device)
        return self._looped(lambda: module(tensor), seconds)

    def scheduler(self, x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
        """Requests through the queue, with inputs and outputs on the host."""
        requests = Requests(self._runtime, ENGINES[graphs], self.input, x)
        requests.finish(4 * WARM)
        before, cpu = self._phases(graphs), threads.cpu_us(os.getpid())
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            done += requests.finish(1)
        elapsed = time.perf_counter() - began
        after = self._phases(graphs)
        spent = threads.between(cpu, threads.cpu_us(os.getpid()), done)
        requests.drain()
        phases = {name: (after[name] - before[name]) / done / 1000 for name in after}
        return {"per_second": done / elapsed, **phases, **spent}

    def operator_answer(self, x: np.ndarray, graphs: bool) -> np.ndarray:
        """The values of all outputs."""
        tensor = torch.from_numpy(x).to(self._card.device)
        outputs = torch.ops.trt.execute_engine_list(ENGINES[graphs], [tensor])
        return np.concatenate([output.cpu().numpy().ravel() for output in outputs])

    def scheduler_answer(self, x: np.ndarray, graphs: bool) -> np.ndarray:
        """The values of all outputs."""
        (ended,) = Requests(self._runtime, ENGINES[graphs], self.input, x).drain()
        return np.concatenate([np.frombuffer(memoryview(output), np.float32) for output in ended.outputs])

    def profile(self, x: np.ndarray, graphs: bool) -> str:
        """What torch's profiler says of the operator, as a table."""
        execute = self._call(x, graphs)
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self._card.device == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        self._looped(execute, 0)
        with torch.profiler.profile(activities=kinds) as profile:
            for _ in range(WARM):
                execute()
            torch.accelerator.synchronize()
        return str(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))

    def _call(self, x: np.ndarray, graphs: bool) -> Execute:
        inputs, engine = [torch.from_numpy(x).to(self._card.device)], ENGINES[graphs]
        operator = torch.ops.trt.execute_engine_list
        return lambda: operator(engine, inputs)

    def _phases(self, graphs: bool) -> dict[str, int]:
        stats = next(stats for stats in self._runtime.stats() if stats.id == ENGINES[graphs])
        return {
            "queue": stats.queue_time.ns,
            "compute_input": stats.compute_input.ns,
            "compute_infer": stats.compute_infer.ns,
            "compute_output": stats.compute_output.ns,
        }

    @staticmethod
    def _looped(execute: Execute, seconds: float) -> dict[str, float]:
        """Call without waiting, and wait at the end; "host_us" is the time of a call alone."""

        def repeat(count: int) -> tuple[float, float]:
            began = time.perf_counter()
            for _ in range(count):
                execute()
            called = time.perf_counter() - began
            torch.accelerator.synchronize()
            return called, time.perf_counter() - began

        repeat(WARM)
        called, whole = repeat(WARM)
        count = max(WARM, int(seconds * WARM / whole))
        return {"per_second": count / repeat(count)[1], "host_us": called / WARM * 1e6}


class Requests:
    """Requests of one batch each; as many are under way as keep all instances busy."""

    in_flight = IN_FLIGHT

    def __init__(
        self, runtime: runtime_ext.Runtime, engine: int, spec: runtime_ext.TensorSpec, x: np.ndarray
    ) -> None:
        self._runtime = runtime
        self._prepared = runtime.prepare(engine, [(spec.name, spec.datatype, list(x.shape))])
        self._x = x
        self._under_way: set[int] = set()  # their tickets

    def finish(self, count: int) -> int:
        """Return once at least `count` have ended, and how many have."""
        done = 0
        while done < count:
            while len(self._under_way) < self.in_flight:
                self._submit()
            done += len(self._take())
        return done

    def drain(self) -> list[runtime_ext.Completion]:
        """Wait for those under way, at least one."""
        if not self._under_way:
            self._submit()
        ended: list[runtime_ext.Completion] = []
        while self._under_way:
            ended += self._take()
        return ended

    def _submit(self) -> None:
        self._under_way.add(self._runtime.submit(self._prepared, (self._x,)))

    def _take(self) -> list[runtime_ext.Completion]:
        select.select([self._runtime.completion_fd()], [], [])
        # Not those that an earlier failure left under way.
        ended = [each for each in self._runtime.take_completions() if each.ticket in self._under_way]
        self._under_way -= {completion.ticket for completion in ended}
        for completion in ended:
            if completion.kind is not None:
                raise WayFailed(f"a request failed: {completion.message}")
        return ended
