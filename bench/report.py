"""The output of a benchmark run: tables, a JSON file and a chart."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def table(title: str, rows: Iterable[Row], columns: dict[str, Callable[[Row], str]]) -> None:
    """Print a Markdown table, ready for the documentation."""
    print(f"\n### {title}\n\n{markdown(rows, columns)}")


def markdown(rows: Iterable[Row], columns: dict[str, Callable[[Row], str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(render(row) for render in columns.values())} |" for row in rows]
    return "\n".join(lines)


def frontend(rows: list[Row]) -> None:
    _beside(rows, "Front end", ("payload",))


def grpc(result: Row) -> None:
    if "not_run" in result:
        print(f"\n### gRPC\n\nNot run: {result['not_run']}")
        return
    _beside(result["rows"], "gRPC", ("kind", "payload"))


def _beside(rows: list[Row], title: str, names: tuple[str, ...]) -> None:
    """Print the rates of all servers, and ours divided by each other one's under the same load."""

    def load(row: Row) -> tuple[Any, ...]:
        return (*(row[name] for name in names), row["concurrency"])

    reference = {load(row): row for row in rows if row["server"] == "trtserve"}

    def ratio(row: Row) -> str:
        if row["server"] == "trtserve":
            return ""
        ours = reference[load(row)]
        if not row["per_second"]:
            return "-"
        return f"{ours['per_second'] / row['per_second']:.2f}"

    table(
        title,
        rows,
        {
            **{name: _named(name) for name in names},
            "c": lambda row: str(row["concurrency"]),
            "server": lambda row: str(row["server"]),
            "requests/s": lambda row: f"{row['per_second']:,.0f}",
            "p50 us": lambda row: f"{row['p50_us']:,.0f}",
            "p99 us": lambda row: f"{row['p99_us']:,.0f}",
            "errors": lambda row: str(row["errors"]),
            "ours / it": ratio,
        },
    )


def _named(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


def varied(rows: list[Row]) -> None:
    """Print the rows that differ, each with its share of the same requests sent over and over."""
    table(
        "Requests that differ",
        rows,
        {
            "payload": lambda row: str(row["payload"]),
            "c": lambda row: str(row["concurrency"]),
            "server": lambda row: str(row["server"]),
            "what differs": lambda row: str(row["varies"]),
            "requests/s": lambda row: f"{row['per_second']:,.0f}",
            "share of one head": lambda row: f"{row['share']:.2f}",
            "errors": lambda row: str(row["errors"]),
        },
    )


def engines(rows: list[Row]) -> None:
    """Print what many engines cost; a share is of a server with one engine."""

    def share(row: Row, name: str) -> str:
        return f"{row[name]:.2f}" if name in row else ""

    table(
        "Many engines",
        rows,
        {
            "engines": lambda row: f"{row['engines']:,}",
            "start s": lambda row: f"{row['start_s']:.1f}",
            "threads": lambda row: str(row["threads"]),
            "RSS MB": lambda row: f"{row['rss_mb']:,.0f}",
            "/metrics ms": lambda row: f"{row['metrics_ms']:.0f}",
            "/metrics MB": lambda row: f"{row['metrics_mb']:.2f}",
            "requests to one": lambda row: share(row, "one_share"),
            "to fifty in rotation": lambda row: share(row, "rotation_share"),
        },
    )


def efficiency(rows: list[Row]) -> None:
    table(
        "Engine efficiency",
        rows,
        {
            "network": lambda row: str(row["network"]),
            "best batch": lambda row: str(row["best_batch"]),
            "OpenVINO items/s": lambda row: f"{row['openvino_items_per_second']:,.0f}",
            "HTTP, best batches": lambda row: f"{row['http_best_batch_items_per_second']:,.0f}",
            "share": lambda row: f"{row['efficiency']:.2f}",
            "HTTP, single items": lambda row: f"{row['http_single_items_per_second']:,.0f}",
            "its share": lambda row: f"{row['efficiency_of_singles']:.2f}",
        },
    )


def latency(result: Row) -> None:
    table(
        f"Open loop (LeNet, capacity {result['capacity_per_second']:,.0f} requests/s)",
        result["curves"],
        {
            "max_queue_delay_us": lambda row: str(row["delay_us"]),
            "load": lambda row: f"{row['share']:.0%}",
            "p50 us": lambda row: f"{row['p50_us']:,.0f}",
            "p99 us": lambda row: f"{row['p99_us']:,.0f}",
            "p99 / p50": lambda row: f"{row['tail']:.1f}",
            "queue us": lambda row: f"{row['queue_us']:,.0f}",
            "compute us": lambda row: f"{row['compute_us']:,.0f}",
            "items per execution": lambda row: f"{row['items_per_execution']:.1f}",
            "client late p50 us": lambda row: f"{row['client_late_p50_us']:,.1f}",
            "client late p99 us": lambda row: f"{row['client_late_p99_us']:,.0f}",
            "lost": lambda row: str(row["lost"] + row["errors"]),
        },
    )
    table(
        "Garbage collection during these loads",
        [{"of": of, **result["collections"]} for of in ("young", "full")],
        {
            "objects": lambda row: str(row["of"]),
            "collections": lambda row: str(row[row["of"]]),
            "longest, processor us": lambda row: f"{row[row['of'] + '_us']:,.0f}",
            "longest, us by the clock": lambda row: f"{row[row['of'] + '_wall_us']:,.0f}",
        },
    )
    table(
        "Queue time, by the metrics and by the client (means)",
        result["queue_time_agreement"],
        {
            "load": lambda row: f"{row['share']:.0%}",
            "requests": lambda row: f"{row['sent']:,}",
            "latency us": lambda row: f"{row['mean_us']:,.0f}",
            "latency idle us": lambda row: f"{row['idle_mean_us']:,.0f}",
            "queue us, by the client": lambda row: f"{row['client_queue_us']:,.0f}",
            "by the metrics": lambda row: f"{row['metrics_queue_us']:,.0f}",
            "metrics / client": lambda row: f"{row['agreement']:.3f}",
            "client late p99 us": lambda row: f"{row['client_late_p99_us']:,.0f}",
            "lost": lambda row: str(row["lost"] + row["errors"]),
        },
    )


def memory(result: Row) -> None:
    table(
        f"Memory ({result['seconds']} s at full load)",
        [result],
        {
            "at rest MB": lambda row: f"{row['at_rest_mb']:.1f}",
            "after a minute": lambda row: f"{row['after_a_minute_mb']:.1f}",
            "most after that": lambda row: f"{row['most_after_that_mb']:.1f}",
            "at the end": lambda row: f"{row['at_the_end_mb']:.1f}",
            "errors": lambda row: str(row["errors"]),
        },
    )


def gpu_throughput(rows: list[Row]) -> str:
    """A table of all loads; share: of the raw loop with that batch and use of graphs."""
    loads = [row for row in rows if "share" in row]
    return markdown(
        sorted(loads, key=lambda row: (row["graphs"], row["batch"])),
        {
            "graphs": _graphs,
            "batch": lambda row: str(row["batch"]),
            "way": lambda row: str(row["way"]),
            "images/s": lambda row: f"{row['items_per_second']:,.0f}",
            "us each": lambda row: f"{row['batch'] / row['items_per_second'] * 1e6:,.0f}",
            "share": lambda row: f"{row['share']:.3f}",
            "of the loop with copies": lambda row: f"{row['share_with_copies']:.3f}",
        },
    )


def gpu_lone(rows: list[Row]) -> str:
    return markdown(
        [row for row in rows if "above_us" in row],
        {
            "graphs": _graphs,
            "one request after the other": lambda row: str(row["way"]).removesuffix(", lone"),
            "p50 us": lambda row: f"{row['details']['p50_us']:,.0f}",
            "p99 us": lambda row: f"{row['details']['p99_us']:,.0f}",
            "above the raw execution, us": lambda row: f"{row['above_us']:,.0f}",
        },
    )


def gpu_targets(judged: list[Row]) -> str:
    return markdown(
        judged,
        {
            "goal": lambda row: str(row["what"]),
            "batch": lambda row: str(row["batch"]),
            "graphs": _graphs,
            "wanted": lambda row: str(row["wanted"]),
            "reached": lambda row: str(row["shown"]),
            "met": lambda row: "yes" if row["met"] else "**no**",
        },
    )


def _graphs(row: Row) -> str:
    return "on" if row["graphs"] else "off"


def chart(results: dict[str, Any], path: Path) -> None:
    """Draw requests per second by payload and concurrency, and latency by load and delay."""
    import matplotlib.pyplot as plt  # late: not on a GPU machine, where only the figures are taken

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), constrained_layout=True)
    rows = results.get("frontend", [])
    groups = list(dict.fromkeys((row["payload"], row["concurrency"]) for row in rows))
    servers = list(dict.fromkeys(row["server"] for row in rows))
    for number, server in enumerate(servers):
        known = {
            (row["payload"], row["concurrency"]): row["per_second"] for row in rows if row["server"] == server
        }
        places = [place + number / (len(servers) + 1) for place, group in enumerate(groups) if group in known]
        left.bar(
            places, [known[group] for group in groups if group in known], 1 / (len(servers) + 1), label=server
        )
    left.set_yscale("log")
    left.set_ylabel("requests per second")
    left.set_xticks(
        range(len(groups)), [f"{payload}\nc={c}" for payload, c in groups], fontsize=7, rotation=45
    )
    if rows:
        left.legend()
    curves = results.get("latency", {}).get("curves", [])
    for delay in dict.fromkeys(row["delay_us"] for row in curves):
        points = [(row["rate_per_second"], row["p99_us"]) for row in curves if row["delay_us"] == delay]
        right.plot(*zip(*points, strict=True), marker="o", label=f"max_queue_delay_us={delay}")
    right.set_xlabel("requests per second, open loop")
    right.set_ylabel("p99, microseconds")
    if curves:
        right.set_yscale("log")
        right.legend()
    figure.savefig(path)


def gpu_chart(results: dict[str, Any], path: Path) -> None:
    """Draw the share of the raw loop that each way reaches, by batch, with graphs off and on."""
    import matplotlib.pyplot as plt

    figure, plots = plt.subplots(1, 2, figsize=(12, 4.5), constrained_layout=True, sharey=True)
    rows = [row for row in results["rows"] if "share" in row and row["way"] != "raw"]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    width = 1 / (len(ways) + 1)
    for plot, graphs in zip(plots, (False, True), strict=True):
        for number, way in enumerate(ways):
            mine = [row for row in rows if (row["way"], row["graphs"]) == (way, graphs)]
            known = {row["batch"]: row["share"] for row in mine}
            places = [batches.index(batch) + number * width for batch in known]
            plot.bar(places, list(known.values()), width, label=way)
        plot.axhline(1, color="black", linewidth=0.8)
        middles = [place + (len(ways) - 1) * width / 2 for place in range(len(batches))]
        plot.set_xticks(middles, [f"batch {batch}" for batch in batches])
        plot.set_title(f"CUDA graphs {'on' if graphs else 'off'}")
    plots[0].set_ylabel("share of the raw enqueueV3 loop")
    figure.legend(*plots[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(ways))
    figure.suptitle(f"ResNet-50 fp16, {results['machine']['GPU']}")
    figure.savefig(path)
    plt.close(figure)


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def save(results: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
