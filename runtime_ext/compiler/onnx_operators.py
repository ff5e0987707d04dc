"""Which operators of ATen torch.onnx converts.

Nothing public tells, so this uses two private modules of torch.onnx; the tests of the compiler say when they
change.
"""

import logging
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.fx import GraphModule, Node


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch.onnx from warning about its own internals, and about every operator of torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@cache
def _registry() -> Any:
    try:
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise ImportError(
            "The compiler needs onnx and onnxscript: pip install 'trtserve[compile]'"
        ) from missing
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with quiet():
        return ONNXRegistry.from_torchlib()


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return how to express operators that it does not convert by others, where torch knows a way."""
    from torch.onnx._internal.exporter import _decomp

    known = set(_decomp.get_onnx_implemented_overloads(_registry()))
    table: dict[Any, Callable[..., Any]] = _decomp.create_onnx_friendly_decomposition_table(known)
    return table


def is_converted(node: Node) -> bool:
    """True if it converts calls of the node's operator."""
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload) and not callable(target):
        return False
    return bool(_registry().is_registered(target)) and all(map(_is_converted, branches(node)))


def branches(node: Node) -> list[GraphModule]:
    """The graphs that the node runs, if it is a branch."""
    owner: Any = node.graph.owning_module
    if owner is None:
        return []
    given = [str(each.target) for each in node.all_input_nodes if each.op == "get_attr"]
    found = [getattr(owner, name, None) for name in given if "." not in name]
    return [each for each in found if isinstance(each, GraphModule)]


def _is_converted(graph: GraphModule) -> bool:
    return all(
        is_converted(node) or is_getitem(node) for node in graph.graph.nodes if node.op == "call_function"
    )


def is_getitem(node: Node) -> bool:
    return node.op == "call_function" and node.target is operator.getitem
