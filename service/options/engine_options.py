"""The options of an engine: one field each, from which everything about options is derived.

These are the query of an upload, the flags of `trtserve engines add`, what a load's config asks for, the row
in the store, and what the runtime is told. If an option is left out, the setting of the same name decides.
"""

from typing import Annotated, Any, Literal, Self, get_args

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from trtserve.errors import InvalidInput
from trtserve.options import warm_up
from trtserve.options.batching import AUTO, NEVER, canonical_dims, canonical_sizes, read_sizes
from trtserve.options.build_options import BuildPrecision
from trtserve.options.labels import EXAMPLE as LABELS_EXAMPLE
from trtserve.options.labels import canonical_labels
from trtserve.options.tensors import EXAMPLE, canonical_tensors
from trtserve.options.warm_up import canonical_warm_up
from trtserve.settings import (
    MAX_DELAY_US,
    BatchSize,
    CudaGraphs,
    Device,
    Instances,
    Latency,
    Precision,
    QueueDelay,
    QueueSize,
    Residency,
    Settings,
)

DELAY = (
    f"Microseconds, up to {MAX_DELAY_US}, that a request may wait for others to be joined with; `auto`: as "
    "long as it pays, within `latency_target_us`."
)


class EngineOptions(BaseModel):
    """A value for each option. What was asked for is what was given to the constructor: see asked()."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instances: Instances = Field(
        default=0,
        description="How many requests run at the same time on each device; 0: the backend chooses.",
    )
    max_queue_size: QueueSize = Field(
        default=256, description="How many requests may wait before the next gets a 429."
    )
    device: Device = Field(
        default="auto",
        description="`auto`, `all`, `cpu`, `cuda`, `cuda:N`, or several GPUs with commas between them: the "
        "engine then has a replica on each, and one queue. For a TensorRT plan `auto` is the first GPU, and "
        "`all` is every GPU; for others both are the CPU.",
    )
    precision: Precision = Field(default="f32", description="Inference precision of the openvino backend.")
    cuda_graphs: CudaGraphs = Field(
        default="auto",
        description="Capture executions as CUDA graphs and replay them: `on` from the first of a shape, "
        "`auto` once a shape has come a few times, `off` never. Only of the tensorrt backend.",
    )
    max_batch_size: BatchSize = Field(
        default=AUTO,
        description="How many items requests are joined up to; 1: each request runs alone; `auto`: what the "
        "profiles take, or 64, if a check at the first load finds that the engine can be batched.",
    )
    max_queue_delay_us: Literal["never"] | QueueDelay = Field(default=0, description=DELAY)
    latency_target_us: Latency = Field(
        default=10_000, description="Microseconds of latency that an `auto` delay keeps to."
    )
    preferred_batch_sizes: Annotated[str, AfterValidator(canonical_sizes)] = Field(
        default="",
        description="Batch sizes that need not wait for more, with commas between them.",
        examples=["4,8"],
    )
    batch_dims: Annotated[str, AfterValidator(canonical_dims)] = Field(
        default="",
        description="Which dimension is the batch, as `tensor:dim` with commas between them; "
        "0 for a tensor that is not named.",
        examples=["x:1,y:1"],
    )

    warm_up: Annotated[str, AfterValidator(canonical_warm_up)] = Field(
        default=warm_up.AUTO,
        description="Executions before the first request, so that no request pays for what an engine does "
        "only once: `auto`, `off`, or the shapes of inputs, with a semicolon between executions. `auto`: the "
        "shapes that the profiles are best for, and likely batches.",
        examples=["x:1x3x224x224;x:8x3x224x224"],
    )
    residency: Residency = Field(
        default="eager",
        description="`eager`: a start loads it; `lazy`: a start leaves it to its first request. Both are "
        "evicted when others need their memory, and loaded again by their next request. `pinned`: a start "
        "loads it, and it is never evicted.",
    )
    tensors: Annotated[str, AfterValidator(canonical_tensors)] = Field(
        default="",
        description="Of a TorchScript module: its inputs and outputs, as a JSON document. Without it, the "
        "document `trtserve.json` in the archive counts.",
        examples=[EXAMPLE],
    )
    labels: Annotated[str, AfterValidator(canonical_labels)] = Field(
        default="",
        description="What the classes of outputs are called, as a JSON document: a list of strings for each "
        "output, in the order of its elements. The answers to the parameter `classification` have them.",
        examples=[LABELS_EXAMPLE],
    )

    @property
    def leaves_open(self) -> bool:
        """True if the load is to find out whether requests are joined."""
        return self.max_batch_size == AUTO and self.max_queue_delay_us != NEVER

    def check(self) -> None:
        """Raise InvalidInput for preferred sizes that no batch of the engine can have.

        The core refuses them too, except if requests are never joined: there it ignores them, although the
        uploader has probably forgotten an option.
        """
        if self.max_batch_size == AUTO:
            return  # sizes that the engine does not take are left out
        too_large = [size for size in read_sizes(self.preferred_batch_sizes) if size > self.max_batch_size]
        if too_large:
            raise InvalidInput(
                f"The preferred batch size {too_large[0]} is over max_batch_size, {self.max_batch_size}: "
                f"upload it with a max_batch_size of {too_large[-1]} or more, or without larger sizes."
            )

    def asked(self) -> dict[str, Any]:
        """What was asked for, by name."""
        return {option: value for option, value in self if option in self.model_fields_set & OPTIONS}

    def over(self, before: "EngineOptions") -> "EngineOptions":
        """These options where asked for; otherwise those of `before`."""
        changed = self.asked()
        if "max_batch_size" in changed and before.max_queue_delay_us == NEVER:
            changed = {"max_queue_delay_us": 0} | changed  # asking for batches means joining requests
        return EngineOptions(**before.model_dump() | changed)

    def decided(self, settings: Settings) -> "EngineOptions":
        """What was asked for; for the rest the setting of the same name, or the default if there is none."""
        told = {option: getattr(settings, option) for option in OPTIONS if hasattr(settings, option)}
        return EngineOptions(**told | self.asked())

    @classmethod
    def read(cls, text: object) -> tuple[Self, list[str]]:
        """The options in a row of the store, and the names of those that this version cannot read.

        An option that it cannot read, or that is newer than the row, has its default.
        """
        try:
            given = orjson.loads(text)  # type: ignore[arg-type]  # a value of another type is not JSON either
        except orjson.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            return cls(), ["options"]
        known = {option: value for option, value in given.items() if cls._holds(option, value)}
        return cls(**known), [option for option in given if option not in known]

    @classmethod
    def _holds(cls, option: str, value: object) -> bool:
        """True if there is such an option and it can have exactly this value."""
        try:
            held = getattr(cls.model_validate({option: value}), option)
        except ValidationError:
            return False
        return type(held) is type(value) and held == value


OPTIONS = EngineOptions.model_fields.keys()


class UploadOptions(EngineOptions):
    """What a person may ask for: not `never`, which stands for a config that has no dynamic batching."""

    max_queue_delay_us: QueueDelay = Field(default=0, description=DELAY)
    precision: BuildPrecision = Field(  # type: ignore[assignment]  # more values: options() refuses them
        default="f32",
        description="Inference precision: `f32`, `f16` or `bf16` of the openvino backend. Of a plan that is "
        "built also `int8` and `fp8`, as its library supports them, and `auto`, which is then the default.",
    )

    def options(self) -> EngineOptions:
        """What was asked for, and nothing else. Raises InvalidInput for a precision of builds only."""
        precision = self.asked().get("precision", "f32")
        if precision not in get_args(Precision):
            raise InvalidInput(
                f"precision is {precision}, which only a plan has that is built here (an ONNX model with "
                f"backend=tensorrt); the openvino backend has {', '.join(get_args(Precision))}."
            )
        return EngineOptions(**self.asked())

    def for_build(self) -> EngineOptions:
        """What was asked for, without the precision, which belongs to the build of the plan."""
        return EngineOptions(**{name: value for name, value in self.asked().items() if name != "precision"})
