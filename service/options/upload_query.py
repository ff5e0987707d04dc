"""What an upload may ask for, as the query of POST /engines."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from trtserve.options.batching import canonical_dims, canonical_sizes
from trtserve.options.names import Name
from trtserve.settings import MAX_BATCH_SIZE, MAX_DELAY_US, Device, QueueDelay


class UploadQuery(BaseModel):
    """The query of POST /engines; what is left out comes from the server's settings."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        Name | None,
        Field(
            description="What to call the engine: a letter or `_`, then up to 127 letters, digits, `_`, `.`, "
            "`-`. A new plan becomes the next version of the name. Without it the engine has its ID only.",
            examples=["lenet"],
        ),
    ] = None
    format: Annotated[
        Literal["auto", "tensorrt", "onnx", "openvino"],
        Field(description="Format of the plan; `auto` tells it from the first bytes."),
    ] = "auto"
    instances: Annotated[
        int | None,
        Field(ge=0, le=256, description="How many requests run at the same time; 0: the backend chooses."),
    ] = None
    max_queue_size: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="How many requests may wait before the next gets a 429."),
    ] = None
    device: Annotated[
        Device | None,
        Field(
            description="`auto`, `cpu`, `cuda` or `cuda:N`; `auto` is the first GPU for a TensorRT plan, "
            "the CPU for others."
        ),
    ] = None
    precision: Annotated[
        Literal["f32", "f16", "bf16"] | None,
        Field(description="Inference precision of the openvino backend."),
    ] = None
    cuda_graphs: Annotated[
        Literal["off", "auto", "on"] | None,
        Field(
            description="Capture executions as CUDA graphs and replay them: `on` from the first of a shape, "
            "`auto` once a shape has come a few times, `off` never. Only of the tensorrt backend."
        ),
    ] = None
    max_batch_size: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_BATCH_SIZE,
            description="How many items requests are joined up to; 1: each request runs alone.",
        ),
    ] = None
    max_queue_delay_us: Annotated[
        QueueDelay | None,
        Field(
            description=f"Microseconds, up to {MAX_DELAY_US}, that a request may wait for others to be "
            "joined with; `auto`: as long as it pays, within `latency_target_us`."
        ),
    ] = None
    latency_target_us: Annotated[
        int | None,
        Field(ge=1, le=MAX_DELAY_US, description="Microseconds of latency that an `auto` delay keeps to."),
    ] = None
    preferred_batch_sizes: Annotated[
        str | None,
        AfterValidator(canonical_sizes),
        Field(
            description="Batch sizes that need not wait for more, with commas between them.", examples=["4,8"]
        ),
    ] = None
    batch_dims: Annotated[
        str | None,
        AfterValidator(canonical_dims),
        Field(
            description="Which dimension is the batch, as `tensor:dim` with commas between them; "
            "0 for a tensor that is not named.",
            examples=["x:1,y:1"],
        ),
    ] = None
