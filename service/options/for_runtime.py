"""Converts the options of an engine for the runtime."""

from typing import Any

from runtime_ext import AUTO_BATCH_SIZE, AUTO_DELAY
from trtserve.options.batching import AUTO, NEVER, read_dims, read_sizes
from trtserve.options.engine_options import EngineOptions


def for_runtime(options: EngineOptions) -> dict[str, Any]:
    """Every option of a load by name, as LoadOptions accepts it: text is converted to lists and numbers."""
    told = options.model_dump(exclude={"warm_up", "residency", "labels"}) | {
        "preferred_batch_sizes": read_sizes(options.preferred_batch_sizes),
        "batch_dims": read_dims(options.batch_dims),
    }
    if options.max_batch_size == AUTO:
        told["max_batch_size"] = AUTO_BATCH_SIZE
    if options.max_queue_delay_us == NEVER:
        told |= {"max_batch_size": 1, "max_queue_delay_us": 0}
    elif options.max_queue_delay_us == AUTO:
        told["max_queue_delay_us"] = AUTO_DELAY
    return told
