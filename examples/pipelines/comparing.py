"""Compares a pipeline with PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Pipeline = Callable[..., tuple[Tensor, ...]]


def compare(pipeline: nn.Module, compiled: Pipeline, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Run both and return the results of the second. AssertionError if they differ."""
    with torch.inference_mode():
        expected, results = pipeline(*inputs), compiled(*inputs)
    torch.testing.assert_close(results, expected, rtol=1e-4, atol=1e-5)
    return results
