"""Triton's ModelConfig (model_config.proto) as far as a load reads it, in the JSON of protobuf.

A field of type `Unread` changes nothing about an engine's answers and is ignored. config_reader.py refuses a
field that would change them and is not supported. One of type `Fact` asks for nothing: it describes the
model, or is for a folder of models, whose configs `folder` reads too. There is no other field.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trtserve.codec.tensor import TENSORS
from trtserve.settings import MAX_BATCH_SIZE

Item = TypeVar("Item")
UNREAD = "unread"
Unread = Annotated[Any, UNREAD]
Fact = Any
Few = Annotated[list[Item], Field(max_length=256)]  # each takes microseconds, on the event loop


class _Message(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, loc_by_alias=False
    )

    def unread(self) -> Iterator[str]:
        """The fields that are there and are ignored, as paths: `optimization.graph`."""
        for name, field in type(self).model_fields.items():
            if name not in self.model_fields_set:
                continue
            if UNREAD in field.metadata:
                yield name
                continue
            value = getattr(self, name)
            within = value.values() if isinstance(value, dict) else value
            for part in within if isinstance(value, (list, dict)) else (value,):
                if isinstance(part, _Message):
                    yield from (f"{name}.{unread}" for unread in part.unread())


class InstanceGroup(_Message):
    name: Fact = None
    kind: Literal["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"] = "KIND_AUTO"
    count: Annotated[int, Field(ge=0)] = 0  # 0: not said
    gpus: Few[int] = []
    secondary_devices: Few[Any] = []
    passive: bool = False
    rate_limiter: Unread = None
    profile: Unread = None  # all are used, each for the shapes that it is best for
    host_policy: Unread = None


class QueuePolicy(_Message):
    max_queue_size: Annotated[int, Field(ge=0)] = 0  # 0: not said
    default_timeout_microseconds: int = 0
    timeout_action: Unread = None  # these two are about requests whose time is over
    allow_timeout_override: Unread = None


class DynamicBatching(_Message):
    preferred_batch_size: Few[int] = []
    max_queue_delay_microseconds: int | None = None
    priority_levels: int = 0
    default_priority_level: int = 0
    default_queue_policy: QueuePolicy = QueuePolicy()
    priority_queue_policy: dict[str, Any] = {}
    preserve_ordering: Unread = None


class Cuda(_Message):
    graphs: bool | None = None
    busy_wait_events: Unread = None
    graph_spec: Unread = None
    output_copy_stream: Unread = None


class Optimization(_Message):
    cuda: Cuda = Cuda()
    execution_accelerators: dict[str, Any] = {}
    graph: Unread = None
    priority: Unread = None
    input_pinned_memory: Unread = None
    output_pinned_memory: Unread = None
    gather_kernel_buffer_threshold: Unread = None
    eager_batching: Unread = None


class Input(_Message):
    """The plan decides a tensor's name, datatype and dimensions. A load does not look at those here; those of
    a folder are compared with the plan's."""

    reshape: Any = None
    allow_ragged_batch: bool = False
    name: Fact = None
    data_type: Fact = None
    format: Fact = None
    dims: Fact = None
    is_shape_tensor: Fact = None
    optional: Unread = None
    is_non_linear_format_io: Unread = None
    label_filename: Fact = None  # of a folder; an upload's labels are an option


class Parameter(_Message):
    string_value: str = ""


class TransactionPolicy(_Message):
    decoupled: bool = False


class ResponseCache(_Message):
    enable: bool = False


class WarmUpInput(_Message):
    dims: Few[int] = []
    data_type: Fact = None
    zero_data: Fact = None  # values are zeros in any case
    random_data: Unread = None
    input_data_file: Unread = None


class WarmUp(_Message):
    batch_size: Annotated[int, Field(ge=0, le=MAX_BATCH_SIZE)] = 0  # 0: the dimensions are all of them
    inputs: Annotated[dict[str, WarmUpInput], Field(max_length=TENSORS)] = {}
    name: Fact = None
    count: Unread = None  # each runs once in each context


class ModelConfig(_Message):
    name: str = ""
    platform: str = ""
    backend: str = ""
    max_batch_size: Annotated[int, Field(ge=0, le=MAX_BATCH_SIZE)] = 0
    dynamic_batching: DynamicBatching | None = None
    instance_group: Few[InstanceGroup] = []
    optimization: Optimization = Optimization()
    parameters: Annotated[dict[str, Parameter], Field(max_length=TENSORS)] = {}
    input: Annotated[list[Input], Field(max_length=TENSORS)] = []
    output: Annotated[list[Input], Field(max_length=TENSORS)] = []
    batch_input: list[Any] = []
    batch_output: list[Any] = []
    sequence_batching: Any = None
    ensemble_scheduling: Any = None
    model_transaction_policy: TransactionPolicy = TransactionPolicy()
    response_cache: ResponseCache = ResponseCache()
    model_operations: dict[str, Any] = {}
    model_repository_agents: dict[str, Any] = {}
    version_policy: Fact = None  # of a folder; a load's every version is served
    model_warmup: Few[WarmUp] = []
    default_model_filename: Fact = None  # of a folder; a load's version has one file
    cc_model_filenames: Unread = None
    metric_tags: Unread = None
    model_metrics: Unread = None
    runtime: Unread = None
    inputs: Fact = None  # as the example in the extension's text calls them
    outputs: Fact = None
