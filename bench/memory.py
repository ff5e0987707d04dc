"""Resident memory of a server at rest and under long full load."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench import bodies, models, wrk
from bench.serving import add, serving

SAMPLE_S = 5.0


def measure(folder: Path, seconds: int) -> dict[str, Any]:
    """Alternate bodies of 602 KB at 8 connections and small ones at 64; return megabytes."""
    wrk.check()
    image = np.random.rand(1, 3, 224, 224).astype(np.float32)
    small = np.random.rand(1, 16).astype(np.float32)
    with serving(folder) as server:
        process = psutil.Process(server.process.pid)
        images = add(server, "image", models.doubling(folder / "image.onnx", [3, 224, 224]), max_batch_size=1)
        smalls = add(server, "identity", models.doubling(folder / "identity.onnx", [16]), max_batch_size=64)
        loads = [
            (images, bodies.binary(folder, "INPUT0", "OUTPUT0", image), 8),
            (smalls, bodies.binary(folder, "INPUT0", "OUTPUT0", small), 64),
        ]
        at_rest = _megabytes(process)
        samples: list[float] = []
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(SAMPLE_S):
                samples.append(_megabytes(process))

        sampling = threading.Thread(target=sample)
        sampling.start()
        errors = 0
        turns = max(2, seconds // 10)
        for turn in range(turns):
            url, request, connections = loads[turn % 2]
            errors += wrk.load(url, request, connections, seconds // turns).errors
        stop.set()
        sampling.join()
    warm = samples[min(len(samples) - 1, int(60 / SAMPLE_S))]
    return {
        "seconds": seconds,
        "at_rest_mb": at_rest,
        "after_a_minute_mb": warm,
        "most_after_that_mb": max(samples[int(60 / SAMPLE_S) :] or samples),
        "at_the_end_mb": samples[-1],
        "errors": errors,
        "samples_mb": samples,
    }


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6
