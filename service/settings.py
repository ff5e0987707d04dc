"""Every setting of the service: read once, frozen, passed down.

Each field is an environment variable `TRTSERVE_<NAME>` and an option `--<name>` of `trtserve serve`;
the option wins. One that is empty is as one that is not there, so a template that fills in nothing changes
nothing. Above 400 lines, because every setting stands here with its help.
"""

import re
import resource
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
MAX_BATCH_SIZE = 65_536
MAX_DELAY_US = 10_000_000
MOST_CONNECTIONS = 10_000
LEAST_CONNECTIONS = 16


def _number_or(word: str, most: int, what: str, least: int = 0) -> BeforeValidator:
    """The word, or the number; one sentence for what is neither, where a union would have two."""

    def read(given: Any) -> Any:
        if given == word:
            return given
        digits = given.strip() if isinstance(given, str) else str(given)
        digits = re.sub(r"\.0+$", "", digits)  # as pydantic takes it in other numbers
        if (
            not (digits.isascii() and digits.isdecimal())
            or len(digits) > 8
            or not least <= int(digits) <= most
        ):
            raise PydanticCustomError(
                "number_or_word",
                "Input should be {what} from {least} to {most}, or '{word}'",
                {"what": what, "least": least, "most": most, "word": word},
            )
        return int(digits)

    return BeforeValidator(read)


QueueDelay = Annotated[
    int | Literal["auto"], _number_or("auto", MAX_DELAY_US, "a whole number of microseconds")
]
"""How long a request may wait for others to be joined with: microseconds, or as long as it pays."""

_GPU = "cuda(:(0|[1-9][0-9]{0,2}))?"  # one spelling for each, because builds take turns by it
DEVICE = f"auto|all|cpu|{_GPU}(,{_GPU}){{0,63}}"


def _device(given: str) -> str:
    if not re.fullmatch(DEVICE, given):
        raise PydanticCustomError(
            "device",
            "Input should be 'auto', 'all', 'cpu', 'cuda', 'cuda:N', or GPUs with commas between them",
        )
    return given


Device = Annotated[
    str, AfterValidator(_device), WithJsonSchema({"type": "string", "pattern": f"^({DEVICE})$"})
]
"""Where an engine runs. For the tensorrt backend auto is the first GPU, and all is every GPU; for openvino
both are the CPU."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AnySeconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Seconds, 0 allowed."""

Instances = Annotated[int, Field(ge=0, le=256)]
QueueSize = Annotated[int, Field(ge=1, le=1_000_000)]
BatchSize = Annotated[int | Literal["auto"], _number_or("auto", MAX_BATCH_SIZE, "a whole number", 1)]
"""Most items of a batch; auto: what the engine takes, if a check at its load finds that it can be batched."""
Latency = Annotated[int, Field(ge=1, le=MAX_DELAY_US)]
Precision = Literal["f32", "f16", "bf16"]
CudaGraphs = Literal["off", "auto", "on"]
GrpcServer = Literal["auto", "aio"]

GrpcPort = Annotated[int | Literal["off"], _number_or("off", 65_535, "a port")]


HOST_NAME = r"\*|(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"


def _host_names(given: str) -> str:
    names = given.split(",") if given else []
    if not all(re.fullmatch(HOST_NAME, name.strip(), re.IGNORECASE) for name in names):
        raise PydanticCustomError(
            "host_names",
            "Input should be host names without a port, or *.NAME, with commas between them; or *",
        )
    return given


AllowedHostNames = Annotated[str, AfterValidator(_host_names)]

ORIGIN = r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?)(:[0-9]{1,5})?"


def _origins(given: str) -> str:
    names = given.split(",") if given else []
    if not all(re.fullmatch(ORIGIN, name.strip()) for name in names):
        raise PydanticCustomError(
            "origins",
            "Input should be origins as browsers send them (https://app.example.com, with a port if it is "
            "not the usual one, in lower case and without a path), with commas between them",
        )
    return given


Origins = Annotated[str, AfterValidator(_origins)]


def _http_url(given: str) -> str:
    if given and not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", given):
        raise PydanticCustomError("http_url", "Input should be a URL such as http://collector:4318")
    return given


HttpUrlText = Annotated[str, AfterValidator(_http_url)]

Residency = Literal["eager", "lazy", "pinned"]


UNITS = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
BUDGET = re.compile(
    rf"(cpu|cuda:(?:0|[1-9][0-9]{{0,2}}))=([0-9]{{1,15}}(?:\.[0-9]{{1,6}})?)({'|'.join(UNITS)})"
)


def read_budget(text: str) -> dict[str, int]:
    """Bytes by device, from text such as cuda:0=20GiB,cpu=8GiB. Raises PydanticCustomError."""
    budget: dict[str, int] = {}
    for part in text.split(",") if text else []:
        match = BUDGET.fullmatch(part.strip())
        if match is None or match[1] in budget:
            raise PydanticCustomError(
                "memory_budget",
                "Input should be devices, each once, with sizes in B, KiB, MiB, GiB or TiB, such as "
                "cuda:0=20GiB,cpu=8GiB",
            )
        budget[match[1]] = int(float(match[2]) * UNITS[match[3]])
    return budget


def _budget(given: str) -> str:
    read_budget(given)
    return given


MemoryBudget = Annotated[str, AfterValidator(_budget)]
"""Memory by device: see read_budget()."""

PATH_LISTS = frozenset({"tensorrt_library", "tensorrt_plugins"})
"""The settings that are lists of paths: separated by a colon (os.pathsep), or options given repeatedly."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="TRTSERVE_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    server_name: str = Field(
        "trtserve",
        min_length=1,
        max_length=128,
        description="Name that the server gives itself in the Open Inference Protocol's metadata; some "
        "clients expect triton.",
    )
    allowed_hosts: AllowedHostNames = Field(
        "",
        description="Host names, comma-separated, by which requests may call this server and whose web "
        "pages may use it; *.example.com means all names below example.com, and * all names. "
        "None: names without a dot on a loopback address, all names on any other. Addresses and "
        "localhost are always allowed.",
    )
    auth: Literal["auto", "required", "off"] = Field(
        "auto",
        description="Whether clients must show who they are, with a token or a certificate: auto demands it "
        "if token_file or tls_client_ca is given, and lets the server start without either only on a "
        "loopback address; required lets it start nowhere without; off demands nothing, on any address.",
    )
    token_file: Path | None = Field(
        None,
        description="File of the tokens that requests must have, made by `trtserve tokens add`; it is read "
        "again when it changes.",
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file of this server's certificate and the chain behind it: turns TLS on, over HTTP "
        "and gRPC. This file, the key and the CA are read again when they change.",
    )
    tls_key: Path | None = Field(None, description="PEM file of its private key, without a passphrase.")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of the authorities whose certificates clients must have: turns mutual TLS on.",
    )
    cors_origins: Origins = Field(
        "",
        description="Origins, comma-separated, such as https://app.example.com, whose web pages may use this "
        "server and read its responses; none: no page of another origin.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    grpc_port: GrpcPort = Field(
        8001, description="Port to listen on for gRPC; 0 picks a free one, off disables gRPC."
    )
    grpc_server: GrpcServer = Field(
        "auto",
        description="What serves gRPC: auto takes this server's own fast path if it was built (it needs "
        "nghttp2), aio takes grpc.aio. Both give the same answers.",
    )
    console: bool = Field(True, description="Serve the console, a page for people, at /.")
    store: Path = Field(
        Path("trtserve-store"), description="Folder for the plans and their metadata; created if missing."
    )
    model_repository: str | None = Field(
        None,
        description="Folder of models to serve, in the layout of Triton's model repositories, or its URL "
        "(s3://, gs://, https://); it is only read.",
    )
    model_control_mode: Literal["none", "poll", "explicit"] = Field(
        "none",
        description="When that folder is looked at: none at the start, poll also every repository_poll_secs, "
        "explicit when a model is loaded.",
    )
    repository_poll_secs: Seconds = Field(15.0, description="Seconds between two looks at that folder.")
    device: Device = Field(
        "auto",
        description="Where engines run unless an upload says otherwise: auto, all, cpu, cuda, cuda:N, or "
        "several GPUs with commas between them.",
    )
    instances: Instances = Field(
        0,
        description="Instances per engine and device unless an upload says otherwise; 0 lets the backend "
        "choose.",
    )
    max_queue_size: QueueSize = Field(
        256,
        description="Requests that may wait for an engine before the next gets a 429.",
    )
    max_batch_size: BatchSize = Field(
        "auto",
        description="Most items that requests are joined into, unless an upload says otherwise; 1: each "
        "request runs alone; auto: what each engine takes, if a check at its first load finds that it can be "
        "batched. Give a larger number only if every engine takes batches in dimension 0.",
    )
    max_queue_delay_us: QueueDelay = Field(
        0,
        description="Microseconds that a request may wait for others to join it, unless an upload says "
        "otherwise; auto: as long as it pays.",
    )
    latency_target_us: Latency = Field(
        10_000,
        description="Latency in microseconds that an automatic delay stays within, unless an upload says "
        "otherwise.",
    )
    precision: Precision = Field(
        "f32", description="Inference precision of the openvino backend unless an upload says otherwise."
    )
    shape_cache: int = Field(
        256,
        ge=0,
        le=100_000,
        description="Number of operations, each with its shapes, for which every stream of an engine of the "
        "openvino backend keeps what it prepared; 0: none. A larger number makes new shapes "
        "cheaper and costs memory.",
    )
    max_tensor_bytes: int = Field(
        256 * MIB,
        ge=1,
        description="Largest tensor inside an engine of the openvino backend whose size depends on the "
        "values of a request.",
    )
    allow_blobs: bool = Field(
        True,
        description="Load blobs that OpenVINO exported. Nothing protects them against the values of "
        "requests: turn this off if you do not trust everybody who may run inference.",
    )
    cuda_graphs: CudaGraphs = Field(
        "auto",
        description="CUDA graphs of the tensorrt backend unless an upload says otherwise: on captures a "
        "shape when it first comes, auto when it has come a few times.",
    )
    tensorrt_library: str | None = Field(
        None,
        description="TensorRT's runtime library: paths separated by a colon, for any of its major versions "
        "that this server was built for; none: the server searches pip's packages, then the system.",
    )
    tensorrt_plugins: str = Field(
        "", description="Libraries of TensorRT plugins that plans need: paths separated by a colon."
    )
    allow_host_code: bool = Field(
        False,
        description="Run the host code that a version-compatible plan may contain. It runs with this "
        "server's rights, so turn this on only if you trust the plans.",
    )
    gpu_spin: bool = Field(
        False,
        description="Let threads that wait for the GPU spin: each takes a whole CPU core, and an answer "
        "comes some microseconds earlier.",
    )
    trial_load: bool = Field(
        True,
        description="First load an uploaded plan in a separate process, which it may crash.",
    )
    trial_load_timeout_s: Seconds = Field(300.0, description="Seconds after which a trial load is ended.")
    load_timeout_s: Seconds = Field(
        300.0,
        description="Seconds after which the server gives up a load of its own and leaves its thread behind.",
    )
    triton_metrics: bool = Field(
        False,
        description="Add Triton's metrics (nv_*) to the page, for dashboards that were made for it.",
    )
    keep_compiled: bool = Field(
        True,
        description="Keep compiled models in the store, so that a start need not compile them again.",
    )
    warm_up_s: AnySeconds = Field(
        10.0,
        description="Seconds for the executions that warm an engine up at its load; 0: there are none.",
    )
    max_waiting_loads: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Uploads and loads that may wait for their turn before the next gets a 503.",
    )
    build_timeout_s: Seconds = Field(
        3600.0, description="Seconds after which the build of a plan from an ONNX model is ended."
    )
    max_waiting_builds: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Builds that may wait for their device before the next upload of a model gets a 503: one "
        "plan is built on a device at a time.",
    )
    memory_budget: MemoryBudget = Field(
        "",
        description="Memory that loaded engines may take on each device, such as cuda:0=20GiB,cpu=8GiB; a "
        "device that is not named: what is available there, less a reserve. Beyond it, engines without work "
        "are evicted, and loaded again by their next request.",
    )
    residency: Residency = Field(
        "eager",
        description="Whether engines stay in memory unless an upload says otherwise: eager loads them at the "
        "start, lazy with their first request, and pinned engines are never evicted.",
    )
    max_plan_bytes: int = Field(16 * GIB, ge=1, description="Largest plan that may be uploaded.")
    max_request_bytes: int = Field(
        256 * MIB, ge=1, description="Largest body of an inference request, also after decompression."
    )
    grpc_max_message_bytes: int | None = Field(
        None,
        ge=1,
        lt=2**31,
        description="Largest message over gRPC, request or response; none: same as max_request_bytes, but "
        "at most 2147483647.",
    )
    grpc_keepalive_time_s: Seconds = Field(
        7200.0,
        description="Seconds without data after which the server pings a gRPC client to see whether it is "
        "still there.",
    )
    grpc_keepalive_timeout_s: Seconds = Field(
        20.0,
        description="Seconds that a gRPC client has to answer such a ping before its connection is closed.",
    )
    grpc_keepalive_without_calls: bool = Field(
        True, description="Also ping gRPC clients that have no call in flight, and accept their pings."
    )
    grpc_max_pings_without_data: int = Field(
        2,
        ge=0,
        lt=2**31,
        description="Pings that the server sends a gRPC client with nothing else between them; 0: any "
        "number.",
    )
    grpc_min_ping_interval_s: AnySeconds = Field(
        1.0,
        description="Seconds that a gRPC client without data should leave between two pings; a ping that "
        "comes sooner is a strike.",
    )
    grpc_max_ping_strikes: int = Field(
        2,
        ge=0,
        le=1000,
        description="Strikes after which one more closes a gRPC connection; 0: any number.",
    )
    grpc_max_connection_age_s: Seconds | None = Field(
        None,
        description="Seconds after which a gRPC client must reconnect, which helps load balancers; none: no "
        "limit.",
    )
    grpc_max_connection_grace_s: AnySeconds | None = Field(
        None,
        description="Seconds that its calls in flight then have to finish; none: same as drain_s.",
    )
    grpc_max_connection_idle_s: Seconds = Field(
        300.0,
        description="Seconds without a call after which the server asks a gRPC client to close its "
        "connection; the client opens another when it needs one.",
    )
    grpc_max_concurrent_streams: int = Field(
        1024,
        ge=1,
        lt=2**31,
        description="Calls that a gRPC client may have in flight on one connection; further calls wait in "
        "the client.",
    )
    max_inflight_bytes: int = Field(
        4 * GIB,
        ge=1,
        description="Total bytes of the bodies of all inference requests and loads in flight, inputs in "
        "shared memory, and responses that clients have not taken yet; at least "
        "max_request_bytes.",
    )
    request_timeout_s: Seconds | None = Field(
        None,
        description="Seconds that a request may take to get its response, unless it sets its own time; "
        "none: no limit.",
    )
    body_timeout_s: Seconds = Field(
        30.0,
        description="Seconds for which a body may send nothing, or less than 240 bytes a second, before its "
        "request is ended.",
    )
    header_timeout_s: Seconds = Field(
        30.0,
        description="Seconds within which a request's line and headers must arrive, and the first request "
        "of a connection; over gRPC, the beginning of a connection.",
    )
    idle_timeout_s: Seconds = Field(
        5.0,
        description="Seconds after a response within which the next request over HTTP must begin on its "
        "connection.",
    )
    write_timeout_s: Seconds = Field(
        60.0,
        description="Seconds for which a client over HTTP may take nothing of its response before its "
        "connection is ended; over gRPC, seconds within which it must take a response, plus one "
        "for each 64 KiB.",
    )
    max_connections: int | None = Field(
        None,
        ge=1,
        description="Connections that may be open over HTTP, and the same number over gRPC; none: a third "
        "of the file descriptors that the process may have, at most 10000.",
    )
    max_connections_per_address: int | None = Field(
        None,
        ge=1,
        description="Connections over HTTP that may be open from one address, or over IPv6 from one /64; "
        "none: seven eighths of max_connections.",
    )
    shared_memory: str = Field(
        "",
        description="Keys of POSIX shared memory objects that clients may register as regions: "
        "comma-separated patterns, such as trt_*,input_?.",
    )
    drain_s: AnySeconds = Field(
        30.0,
        description="Seconds that accepted requests get to finish when their engine is unloaded or the "
        "server stops.",
    )
    restart_timeout_s: Seconds = Field(
        600.0,
        description="Seconds after which a warm restart is given up if the new process has not loaded the "
        "engines; the old one goes on as before.",
    )
    stuck_after_s: Seconds = Field(
        60.0,
        description="Seconds after which an execution that has not ended is reported as stuck in the log, "
        "the metrics and /health/ready. Set it above the slowest normal execution.",
    )
    stall_after_s: Seconds = Field(
        10.0,
        description="Seconds after which an event loop that does not turn is reported in the log, with the "
        "code that holds it up, and in the metrics. Nothing is answered meanwhile.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines of the log: text for people, or a JSON object each for programs."
    )

    access_log: Literal["off", "errors", "sampled", "all"] = Field(
        "off",
        description="Requests that get a line in the log: none, those that failed, these and a share of the "
        "others, or all.",
    )
    access_log_rate: float = Field(
        0.01, gt=0, le=1, description="That share: 0.01 is one of a hundred. It goes with access_log sampled."
    )

    trace_endpoint: HttpUrlText = Field(
        "",
        description="URL of the OTLP receiver that gets traces, such as http://collector:4318; none: no "
        "traces. It needs trtserve[tracing].",
    )
    trace_protocol: Literal["http", "grpc"] = Field("http", description="How it takes them.")
    trace_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of requests that are traced, of those whose caller does not decide by its "
        "traceparent: 0.01 is one of a hundred.",
    )

    @field_validator(
        *("host", "store", "model_repository", "tensorrt_library", "server_name"),
        *("token_file", "tls_certificate", "tls_key", "tls_client_ca"),
        mode="before",
    )
    @classmethod
    def _names_something(cls, given: Any) -> Any:
        """An empty address is every address, and an empty path the current folder: nobody means those."""
        if isinstance(given, str) and not given.strip():
            raise PydanticCustomError("blank", "Input should not be blank: leave it out for its default")
        return given

    @field_validator("tls_key", "tls_client_ca")
    @classmethod
    def _belongs_to_a_certificate(cls, given: Path | None, before: ValidationInfo) -> Path | None:
        if given is not None and before.data.get("tls_certificate") is None:
            raise ValueError("goes with a tls_certificate")
        return given

    @field_validator("max_inflight_bytes")
    @classmethod
    def _holds_the_largest_request(cls, inflight: int, before: ValidationInfo) -> int:
        request = before.data.get("max_request_bytes", 0)  # none where it was refused itself
        if inflight < request:
            raise ValueError(f"must be at least max_request_bytes ({request})")
        return inflight


def most_connections(settings: Settings) -> int:
    """How many connections there may be over HTTP, and as many over gRPC.

    Unless it is set, a third of the file descriptors that the process may have, so that some stay for the
    store, the loads and shared memory.
    """
    if settings.max_connections is not None:
        return settings.max_connections
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(max(descriptors // 3, LEAST_CONNECTIONS), MOST_CONNECTIONS)


def most_per_address(settings: Settings) -> int:
    """How many connections over HTTP one address may have.

    Unless it is set, all but an eighth: a proxy in front is the one address of all its clients, and whoever
    comes from another, as a probe of the machine's own, still finds room.
    """
    if settings.max_connections_per_address is not None:
        return settings.max_connections_per_address
    most = most_connections(settings)
    return most - most // 8
