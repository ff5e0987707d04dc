"""Commands about a name with all its versions: load, unload, reload, stats."""

from typing import Any

import click

from trtserve.cli.console import json_option, print_json, print_table, server_option, talking_to


@click.command()
@click.argument("name", metavar="NAME")
@server_option
def load(server: str, name: str) -> None:
    """Load all versions of NAME; returns when they are ready."""
    with talking_to(server) as client:
        client.load(name)
    click.echo(f"Loaded {name}.")


@click.command()
@click.argument("name", metavar="NAME")
@server_option
def unload(server: str, name: str) -> None:
    """Unload all versions of NAME. They stay on disk. Returns when they have drained."""
    with talking_to(server) as client:
        client.unload(name)
    click.echo(f"Unloaded {name}.")


@click.command("reload")
@click.argument("name", metavar="NAME")
@server_option
def reload_model(server: str, name: str) -> None:
    """Unload all versions of NAME and load them again. Requests are refused meanwhile."""
    with talking_to(server) as client:
        client.unload(name)
        client.load(name)
    click.echo(f"Loaded {name} again.")


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@json_option
@server_option
def stats(server: str, name: str | None, *, as_json: bool) -> None:
    """Show the requests and mean times of each version. They count from the load of the version."""
    with talking_to(server) as client:
        found = client.stats(name)
    if as_json:
        print_json(found)
        return
    columns = ["name", "version", "requests", "failed", "executions", "queue ms", "total ms"]
    print_table(columns, [_row(model) for model in found])


def _row(model: dict[str, Any]) -> list[object]:
    times = model["inference_stats"]
    requests, failed = times["success"]["count"], times["fail"]["count"]
    return [
        model["name"],
        model["version"],
        requests,
        failed,
        model["execution_count"],
        _mean_ms(times["queue"]),
        _mean_ms(times["success"]),
    ]


def _mean_ms(time: dict[str, int]) -> str:
    """Of a count and its nanoseconds."""
    return f"{time['ns'] / time['count'] / 1e6:.2f}" if time["count"] else "-"
