"""What the dashboard shows: rows of panels with their queries; every metric of the table is in one."""

from typing import NamedTuple

from deploy.monitoring.queries import Query, executions, gauge, mean, process, quantile, rate, share, uptime

SUCCEEDED = rate("trtserve_requests_total", "engine", where='outcome="Success"')


class Panel(NamedTuple):
    title: str
    unit: str
    """Grafana's name of the unit."""
    queries: tuple[Query, ...]


class Row(NamedTuple):
    title: str
    panels: tuple[Panel, ...]


def _part(name: str, legend: str) -> Query:
    seconds = rate(f"trtserve_request_compute_{name}_seconds_total", legend=legend)
    return share(seconds, rate("trtserve_requests_total", where='outcome="Success"'))


ROWS = (
    Row(
        "Traffic",
        (
            Panel("Requests by engine", "reqps", (rate("trtserve_requests_total", "engine"),)),
            Panel("Requests by outcome", "reqps", (rate("trtserve_requests_total", "outcome"),)),
            Panel(
                "Share of requests that succeed",
                "percentunit",
                (share(SUCCEEDED, rate("trtserve_requests_total", "engine")),),
            ),
            Panel(
                "Requests refused for their token",
                "reqps",
                (rate("trtserve_requests_refused_total", "reason"),),
            ),
            Panel("Traced requests", "reqps", (rate("trtserve_requests_traced_total", "outcome"),)),
            Panel("Lines of the access log", "short", (rate("trtserve_access_log_lines_total", "outcome"),)),
            Panel("Error responses by code", "reqps", (rate("trtserve_errors_total", "code"),)),
            Panel("Requests in flight", "short", (gauge("trtserve_requests_in_flight", "instance"),)),
            Panel(
                "Bytes of requests in flight",
                "bytes",
                (
                    gauge("trtserve_request_bytes_in_flight", legend="held"),
                    gauge("trtserve_request_bytes_limit", legend="limit"),
                ),
            ),
            Panel("Uploads in progress", "short", (gauge("trtserve_uploads_in_progress", "instance"),)),
            Panel("Bytes of uploads", "Bps", (rate("trtserve_upload_received_bytes_total", "instance"),)),
            Panel(
                "Connections over HTTP",
                "short",
                (gauge("trtserve_connections", "instance"),),
            ),
            Panel(
                "Connections ended by the server",
                "ops",
                (rate("trtserve_connections_ended_total", "reason"),),
            ),
        ),
    ),
    Row(
        "Latency",
        (
            Panel(
                "Arrival to completion",
                "s",
                tuple(quantile(at, "trtserve_request_total_seconds", "engine") for at in (0.5, 0.99)),
            ),
            Panel("In the queue", "s", (quantile(0.99, "trtserve_request_queue_seconds", "engine"),)),
            Panel("In execution", "s", (quantile(0.99, "trtserve_request_compute_seconds", "engine"),)),
            Panel("In calls by modules", "s", (quantile(0.99, "trtserve_call_seconds", "engine"),)),
            Panel(
                "Parts of the execution, mean per request",
                "s",
                (_part("input", "inputs"), _part("infer", "engine"), _part("output", "outputs")),
            ),
            Panel("Until a failure", "s", (quantile(0.99, "trtserve_request_failed_seconds", "engine"),)),
        ),
    ),
    Row(
        "Batches and instances",
        (
            Panel("Waiting requests", "short", (gauge("trtserve_queue_depth", "engine"),)),
            Panel("Items per execution, mean", "short", (mean("trtserve_batch_items", "engine"),)),
            Panel("Executions", "ops", (executions("trtserve_batch_items", "engine"),)),
            Panel(
                "Instances that are busy",
                "percentunit",
                (share(gauge("trtserve_instances_busy", "engine"), gauge("trtserve_instances", "engine")),),
            ),
            Panel(
                "Executions that fail, batches that cannot be divided",
                "ops",
                (
                    rate("trtserve_execution_failures_total", "engine", legend="{{engine}} failed"),
                    rate("trtserve_batches_undivided_total", "engine", legend="{{engine}} not divided"),
                ),
            ),
            Panel(
                "Executions that do not end",
                "short",
                (
                    gauge("trtserve_executions_stuck", "engine", legend="{{engine}} stuck"),
                    gauge("trtserve_instances_left_behind", "instance", legend="{{instance}} left behind"),
                    rate(
                        "trtserve_instances_abandoned_total",
                        "instance",
                        legend="{{instance}} abandoned per second",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Engines and their loads",
        (
            Panel("Engines by state", "short", (gauge("trtserve_engines", "state"),)),
            Panel(
                "Loads and builds that wait",
                "short",
                (
                    gauge("trtserve_loads_waiting", legend="loads that wait"),
                    gauge("trtserve_engines_retried", legend="loads that are retried"),
                    gauge("trtserve_loads_given_up", legend="loads given up that still run"),
                    gauge("trtserve_builds_waiting", legend="builds that wait"),
                ),
            ),
            Panel("Builds that ended", "ops", (rate("trtserve_builds_total", "outcome"),)),
            Panel(
                "Time of the last load",
                "s",
                (
                    gauge("trtserve_engine_load_seconds", "engine", how="max"),
                    gauge(
                        "trtserve_engine_cold_start_seconds",
                        "engine",
                        how="max",
                        legend="{{engine}} for a request",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Memory",
        (
            Panel(
                "Resident engines and their budget",
                "bytes",
                (
                    gauge("trtserve_memory_resident_bytes", "instance", "device"),
                    gauge(
                        "trtserve_memory_budget_bytes",
                        "instance",
                        "device",
                        legend="{{instance}} {{device}} budget",
                    ),
                ),
            ),
            Panel("Memory by engine", "bytes", (gauge("trtserve_engine_memory_bytes", "engine", "device"),)),
            Panel("Memory by kind", "bytes", (gauge("trtserve_engine_memory_bytes", "device", "kind"),)),
            Panel(
                "Engines that come and go",
                "ops",
                (
                    rate("trtserve_residency_hits_total", legend="requests that found their engine"),
                    rate("trtserve_residency_waits_total", legend="requests that waited for it"),
                    rate("trtserve_residency_loads_total", legend="loads for requests"),
                    rate("trtserve_residency_evictions_total", legend="evictions"),
                ),
            ),
            Panel(
                "Requests that wait for a load", "short", (gauge("trtserve_residency_waiting", "instance"),)
            ),
        ),
    ),
    Row(
        "Devices",
        (
            Panel("Dead devices", "short", (gauge("trtserve_device_dead", "instance", "device"),)),
            Panel("Devices that engines lost", "short", (gauge("trtserve_engine_replicas_lost", "engine"),)),
            Panel(
                "CUDA graphs",
                "ops",
                (
                    rate("trtserve_backend_cuda_graph_replays_total", "engine", legend="{{engine}} replays"),
                    rate(
                        "trtserve_backend_cuda_graph_captures_total", "engine", legend="{{engine}} captures"
                    ),
                    rate(
                        "trtserve_backend_cuda_graphs_disabled_total",
                        "engine",
                        legend="{{engine}} turned off",
                    ),
                ),
            ),
            Panel(
                "Contexts discarded", "ops", (rate("trtserve_backend_contexts_discarded_total", "engine"),)
            ),
            Panel(
                "Working memory of TensorRT", "bytes", (gauge("trtserve_backend_scratch_bytes", "engine"),)
            ),
        ),
    ),
    Row(
        "GPUs",
        (
            Panel(
                "Memory of the GPU",
                "bytes",
                (
                    gauge("trtserve_gpu_memory_used_bytes", "instance", "gpu", legend="GPU {{gpu}} used"),
                    gauge("trtserve_gpu_memory_total_bytes", "instance", "gpu", legend="GPU {{gpu}} total"),
                ),
            ),
            Panel(
                "Utilisation", "percentunit", (gauge("trtserve_gpu_utilization_ratio", "instance", "gpu"),)
            ),
            Panel("Temperature", "celsius", (gauge("trtserve_gpu_temperature_celsius", "instance", "gpu"),)),
            Panel(
                "Power",
                "watt",
                (
                    gauge("trtserve_gpu_power_watts", "instance", "gpu", legend="GPU {{gpu}}"),
                    gauge("trtserve_gpu_power_limit_watts", "instance", "gpu", legend="GPU {{gpu}} limit"),
                ),
            ),
            Panel("Energy", "watt", (rate("trtserve_gpu_energy_joules_total", "instance", "gpu"),)),
        ),
    ),
    Row(
        "Process",
        (
            Panel(
                "Lag of the event loop", "s", (quantile(0.99, "trtserve_event_loop_lag_seconds", "instance"),)
            ),
            Panel(
                "Stalls of the event loop", "short", (rate("trtserve_event_loop_stalls_total", "instance"),)
            ),
            Panel(
                "Versions", "short", (gauge("trtserve_build_info", "instance", "version", "python", "torch"),)
            ),
            Panel(
                "CPU", "short", (process("process_cpu_seconds_total", "{{instance}} cores", is_rate=True),)
            ),
            Panel(
                "Memory of the process", "bytes", (process("process_resident_memory_bytes", "{{instance}}"),)
            ),
            Panel(
                "File descriptors",
                "short",
                (
                    process("process_open_fds", "{{instance}} open"),
                    process("process_max_fds", "{{instance}} limit"),
                ),
            ),
            Panel("Time since the start", "s", (uptime(),)),
        ),
    ),
)
