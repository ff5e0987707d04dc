"""Every metric of the server: the one table that the dashboard, its picture and the documentation come from.

A test compares it with what a server exposes. The server does not read it: its `# HELP` is shorter.
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

ENGINE = ("engine", "id")
GPU = ("gpu", "uuid")


class Metric(NamedTuple):
    """A family, with the name that PromQL uses; a histogram's is without `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    says: str
    """Markdown, without a full stop."""


METRICS = (
    Metric(
        "trtserve_requests_total",
        "counter",
        (*ENGINE, "outcome"),
        "requests by outcome: `Success` or a kind of error",
    ),
    Metric(
        "trtserve_request_queue_seconds",
        "histogram",
        ENGINE,
        "from arrival at the queue to the start of the execution",
    ),
    Metric(
        "trtserve_request_compute_seconds",
        "histogram",
        ENGINE,
        "the execution of its batch, including joining and dividing",
    ),
    Metric(
        "trtserve_request_total_seconds", "histogram", ENGINE, "both together: from arrival to completion"
    ),
    Metric(
        "trtserve_request_failed_seconds",
        "histogram",
        ENGINE,
        "from arrival to completion, of requests that failed",
    ),
    Metric(
        "trtserve_request_compute_input_seconds_total",
        "counter",
        ENGINE,
        "part of the execution: joining the inputs",
    ),
    Metric(
        "trtserve_request_compute_infer_seconds_total", "counter", ENGINE, "part of the execution: the engine"
    ),
    Metric(
        "trtserve_request_compute_output_seconds_total",
        "counter",
        ENGINE,
        "part of the execution: copying the outputs to the host and dividing them",
    ),
    Metric("trtserve_call_seconds", "histogram", ENGINE, "an execution that a module called, see below"),
    Metric(
        "trtserve_batch_items",
        "histogram",
        ENGINE,
        "items of an execution; its count is the number of executions, those that modules called included",
    ),
    Metric(
        "trtserve_requests_traced_total",
        "counter",
        ("outcome",),
        "traced requests by what became of their spans: `sent`, `lost` at the collector, `dropped` before",
    ),
    Metric(
        "trtserve_access_log_lines_total",
        "counter",
        ("outcome",),
        "lines of the access log: `written`, or `dropped` because whoever reads the log was too slow",
    ),
    Metric("trtserve_queue_depth", "gauge", ENGINE, "requests that are waiting"),
    Metric("trtserve_instances", "gauge", ENGINE, "instances"),
    Metric(
        "trtserve_instances_busy",
        "gauge",
        ENGINE,
        "instances that are executing, or waiting for their turn on the device",
    ),
    Metric(
        "trtserve_executions_stuck", "gauge", ENGINE, "executions that have not ended within `stuck_after_s`"
    ),
    Metric(
        "trtserve_execution_failures_total",
        "counter",
        ENGINE,
        "executions that failed, except those that failed because of a request's own input",
    ),
    Metric(
        "trtserve_batches_undivided_total",
        "counter",
        ENGINE,
        "batches whose outputs did not have one item for each that went in: their requests ran one by one",
    ),
    Metric(
        "trtserve_instances_abandoned_total",
        "counter",
        (),
        "instances that unloads left behind with an execution that had not ended",
    ),
    Metric(
        "trtserve_instances_left_behind",
        "gauge",
        (),
        "those whose execution still has not ended: they hold threads and memory",
    ),
    Metric("trtserve_engines", "gauge", ("state",), "engines by state"),
    Metric(
        "trtserve_engines_retried",
        "gauge",
        (),
        "stored engines whose load the server retries because memory, threads or descriptors are short",
    ),
    Metric("trtserve_loads_waiting", "gauge", (), "uploads and loads that are waiting for their turn"),
    Metric("trtserve_builds_waiting", "gauge", (), "builds of plans that are waiting for their device"),
    Metric(
        "trtserve_builds_total",
        "counter",
        ("outcome",),
        "builds of plans that have ended: `succeeded`, `failed` or `cancelled`",
    ),
    Metric(
        "trtserve_loads_given_up", "gauge", (), "loads that took too long, were given up, and have not ended"
    ),
    Metric("trtserve_engine_load_seconds", "gauge", ENGINE, "how long the load took"),
    Metric(
        "trtserve_engine_memory_bytes",
        "gauge",
        (*ENGINE, "device", "kind"),
        "what a loaded engine takes, see [memory budgets](#memory-budgets)",
    ),
    Metric(
        "trtserve_engine_cold_start_seconds",
        "gauge",
        ENGINE,
        "what its last load for a request took, with the wait for memory",
    ),
    Metric(
        "trtserve_memory_resident_bytes",
        "gauge",
        ("device",),
        "what loaded engines hold, and those that are being loaded",
    ),
    Metric("trtserve_memory_budget_bytes", "gauge", ("device",), "what they may hold"),
    Metric(
        "trtserve_residency_hits_total", "counter", (), "accepted requests that found their engine resident"
    ),
    Metric(
        "trtserve_residency_waits_total",
        "counter",
        (),
        "requests that began to wait until their engine is loaded",
    ),
    Metric(
        "trtserve_residency_loads_total",
        "counter",
        (),
        "engines that were loaded because requests waited for them",
    ),
    Metric(
        "trtserve_residency_evictions_total",
        "counter",
        (),
        "engines that were unloaded because others needed their memory",
    ),
    Metric("trtserve_residency_waiting", "gauge", (), "requests that wait until their engine is loaded"),
    Metric("trtserve_device_dead", "gauge", ("device",), "1 for a device that only a restart brings back"),
    Metric(
        "trtserve_engine_replicas_lost",
        "gauge",
        ENGINE,
        "devices of a `READY` engine that are dead, or were when it was loaded, where it has several",
    ),
    Metric(
        "trtserve_requests_refused_total",
        "counter",
        ("reason",),
        "requests over HTTP and gRPC that had no token, or whose token did not allow them, see "
        "[who may do what](#who-may-do-what)",
    ),
    Metric("trtserve_connections", "gauge", (), "open connections over HTTP"),
    Metric(
        "trtserve_connections_ended_total",
        "counter",
        ("reason",),
        "connections over HTTP that the server ended or refused, see [connections](#connections)",
    ),
    Metric(
        "trtserve_requests_in_flight", "gauge", (), "inference requests that were accepted and have not ended"
    ),
    Metric(
        "trtserve_request_bytes_in_flight", "gauge", (), "bytes that the bodies and answers of requests hold"
    ),
    Metric("trtserve_request_bytes_limit", "gauge", (), "bytes that they may hold (`max_inflight_bytes`)"),
    Metric("trtserve_uploads_in_progress", "gauge", (), "plans and modules that are arriving"),
    Metric(
        "trtserve_upload_received_bytes_total", "counter", (), "bytes of plans and modules that have arrived"
    ),
    Metric(
        "trtserve_event_loop_lag_seconds",
        "histogram",
        (),
        "how late the event loop ran a callback that was due; one observation a second",
    ),
    Metric(
        "trtserve_event_loop_stalls_total",
        "counter",
        (),
        "how often the event loop has not turned for longer than `stall_after_s`",
    ),
    Metric("trtserve_build_info", "gauge", ("version", "python", "torch"), "1; its labels are versions"),
    Metric("trtserve_gpu_memory_total_bytes", "gauge", GPU, "memory of a GPU, as NVML reports it"),
    Metric("trtserve_gpu_memory_used_bytes", "gauge", GPU, "memory in use, by whatever process"),
    Metric(
        "trtserve_gpu_utilization_ratio",
        "gauge",
        GPU,
        "share of the last sample period in which a kernel ran",
    ),
    Metric("trtserve_gpu_temperature_celsius", "gauge", GPU, "temperature"),
    Metric("trtserve_gpu_power_watts", "gauge", GPU, "power that the GPU draws"),
    Metric("trtserve_gpu_power_limit_watts", "gauge", GPU, "power that it may draw"),
    Metric(
        "trtserve_gpu_energy_joules_total",
        "counter",
        GPU,
        "energy that it has used since its driver was loaded",
    ),
    Metric("trtserve_errors_total", "counter", ("code",), "error responses over HTTP and gRPC, by code"),
    # What an engine of the tensorrt backend reports. No other backend reports anything of its own.
    Metric(
        "trtserve_backend_contexts_discarded_total",
        "counter",
        ENGINE,
        "tensorrt: execution contexts that were discarded after a failed execution",
    ),
    Metric(
        "trtserve_backend_cuda_graph_captures_total",
        "counter",
        ENGINE,
        "tensorrt: CUDA graphs that were captured",
    ),
    Metric(
        "trtserve_backend_cuda_graph_replays_total",
        "counter",
        ENGINE,
        "tensorrt: executions that replayed a graph",
    ),
    Metric(
        "trtserve_backend_cuda_graphs_disabled_total",
        "counter",
        ENGINE,
        "tensorrt: 1 once graphs were turned off for the engine; the log says why",
    ),
    Metric(
        "trtserve_backend_scratch_bytes",
        "gauge",
        ENGINE,
        "tensorrt: memory in which the engine's instances run, of all together",
    ),
)

BY_NAME = {metric.name: metric for metric in METRICS}

OF_THE_PROCESS = frozenset(
    {
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    }
)
"""Metrics of prometheus_client that the dashboard and the alerts use."""
