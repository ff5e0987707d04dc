"""Every setting of the service: read once, frozen, passed down.

Each field is an environment variable `TRTSERVE_<NAME>` and an option `--<name>` of `trtserve serve`;
the option wins.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 1024**3
MIB = 1024**2


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TRTSERVE_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    store: Path = Field(
        Path("trtserve-store"), description="Folder of the plans and their metadata; made if missing."
    )
    device: str = Field(
        "auto", description="Where engines run unless an upload says otherwise: auto, cpu, cuda or cuda:N."
    )
    instances: int = Field(
        0,
        ge=0,
        le=256,
        description="Instances an engine unless an upload says otherwise; 0 lets the backend choose.",
    )
    max_queue_size: int = Field(
        256,
        ge=1,
        le=1_000_000,
        description="Requests that may wait for an engine before the next gets a 429.",
    )
    precision: Literal["f32", "f16", "bf16"] = Field(
        "f32", description="Inference precision of the openvino backend unless an upload says otherwise."
    )
    max_plan_bytes: int = Field(16 * GIB, ge=1, description="Largest plan that may be uploaded.")
    max_request_bytes: int = Field(256 * MIB, ge=1, description="Largest body of an inference request.")
    request_timeout_s: float | None = Field(
        None,
        gt=0,
        description="Time in which a request must have started, unless it says its own; none: no limit.",
    )
    drain_s: float = Field(
        30.0,
        ge=0,
        description="Time that accepted requests get when their engine is unloaded or the server stops.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )
