"""The configuration of a model in Triton's words (model_config.proto): what clients look for there.

Dimensions leave the batch out where max_batch_size is above 0, and Triton's batch is always dimension 0. So
max_batch_size is above 0 only where requests are joined along dimension 0 of every tensor, or where a load's
config said so of an engine whose tensors have such a dimension. Else it is 0 and the dimensions are all of
them; where requests are joined along another one, which Triton has no words for, `parameters` say how.
Numbers that the load decided are told, and not that they were left open.
"""

import re
from collections.abc import Sequence
from typing import Any

from runtime_ext import EngineInfo, TensorSpec
from trtserve.engines.engine import Engine, Resolved
from trtserve.formats.backends import BACKENDS
from trtserve.oip import describe
from trtserve.options.batching import AUTO, NEVER, read_sizes
from trtserve.options.engine_options import EngineOptions

PRIORITIES = 3  # 1 (high) to 3 (low) in a request; 2 where it says none
DEFAULT_PRIORITY = 2
IMAGE_DIMS = 3


def describe_config(resolved: Resolved, versions: Sequence[int]) -> dict[str, Any]:
    """Of a READY model. A rank that is unknown is one dynamic dimension."""
    engine = resolved.engine
    options, info = engine.stored.options, engine.loaded
    joined, batched = engine.joins_first, engine.has_batch
    name = resolved.model_name
    config: dict[str, Any] = {
        "name": name,
        "platform": describe.platform(engine.format),
        "backend": engine.backend,
        "version_policy": {"specific": {"versions": list(versions)}},
        "max_batch_size": engine.most_items if joined else options.max_batch_size if batched else 0,
        "input": [_input(spec, batched) for spec in info.inputs],
        "output": [_tensor(spec, batched) for spec in info.outputs],
        "instance_group": [_instances(name, info)],
        "parameters": _parameters(engine),
    }
    if joined:
        config["dynamic_batching"] = _dynamic_batching(options, engine.most_items)
    return config


def _input(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    tensor = _tensor(spec, batched)
    # `values` is there for inputs whose values decide shapes: TensorRT's shape tensors.
    return tensor | {"format": _format(tensor["dims"], batched), "is_shape_tensor": bool(spec.values)}


def _format(dims: list[int], batched: bool) -> str:
    """That of an image where the dimensions tell it: three, and either the first or the last is channels.

    A plan says nothing of it. Without a batch, a dimension of 1 may be one, and is not taken for channels.
    """
    channels = {1, 3} if batched else {3}
    if len(dims) != IMAGE_DIMS or (dims[0] in channels) == (dims[-1] in channels):
        return "FORMAT_NONE"
    return "FORMAT_NCHW" if dims[0] in channels else "FORMAT_NHWC"


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    dims = describe.shape(spec)
    if batched and spec.shape is not None:
        dims = dims[1:]
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": dims}


def _instances(name: str, info: EngineInfo) -> dict[str, Any]:
    group = {"name": name, "count": info.instances}
    gpus = [re.fullmatch(r"cuda(?::(\d+))?", device) for device in info.devices]
    numbers = [int(gpu[1] or 0) for gpu in gpus if gpu is not None]
    return group | {"kind": "KIND_GPU" if numbers else "KIND_CPU", "gpus": numbers}


def _dynamic_batching(options: EngineOptions, most: int) -> dict[str, Any]:
    """An automatic delay is told as its bound, the latency target: what a request may be held back for."""
    delay = options.max_queue_delay_us
    return {
        "preferred_batch_size": [size for size in read_sizes(options.preferred_batch_sizes) if size <= most],
        "max_queue_delay_microseconds": options.latency_target_us if delay == AUTO else int(delay),
        "priority_levels": PRIORITIES,
        "default_priority_level": DEFAULT_PRIORITY,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "allow_timeout_override": True,
            "max_queue_size": options.max_queue_size,
        },
    }


def _parameters(engine: Engine) -> dict[str, Any]:
    """What Triton has no field for: our options, where the backend has them."""
    options = engine.stored.options
    facts: dict[str, object] = {
        "engine_id": engine.id,
        "digest": f"sha256:{engine.digest}",
        "format": engine.format,
        "max_queue_size": options.max_queue_size,
    }
    if options.max_queue_delay_us != NEVER:
        facts |= {"max_batch_size": engine.most_items, "max_queue_delay_us": options.max_queue_delay_us}
    if options.batch_dims:
        facts["batch_dims"] = options.batch_dims
    facts |= options.model_dump(include=set(BACKENDS[engine.backend].options))
    return {name: {"string_value": str(value)} for name, value in facts.items()}
