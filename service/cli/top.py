"""`trtserve top`: what the engines of a server do now."""

import sys
import time
from collections.abc import Iterator, Sequence

import click

from trtserve.cli.console import json_option, print_json, server_option, talking_to
from trtserve.cli.numbers import Amount
from trtserve.client import Client
from trtserve.client.engine_rates import METRICS, Look, Rates, rates
from trtserve.text import shown_bytes, table

COLUMNS = ("engine", "id", "requests/s", "failed/s", "p50 ms", "p99 ms", "batch", "queue", "busy", "memory")
BESIDES = 3  # lines of a screen that are no engines


@click.command()
@click.option("--interval", type=Amount(3600), default=2.0, metavar="S", help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Print one table, of one interval, and end; so does a pipe.")
@json_option
@server_option
def top(server: str, interval: float, *, once: bool, as_json: bool) -> None:
    """Watch the load of the engines of a server, until Ctrl-C.

    All of it is from the server's /metrics. Rates and quantiles are those of the last interval, the busiest
    engine comes first; latencies are the server's, from a request's arrival to its completion.
    """
    with talking_to(server) as client:
        seen = _looks(client, interval)
        if as_json:
            print_json([engine.document() for engine in next(seen)])
        elif once or not sys.stdout.isatty():
            click.echo("\n".join(_lines(next(seen))))
        else:
            _watch(seen, f"{client.url}, every {interval:g} s; Ctrl-C ends")


def _looks(client: Client, interval: float) -> Iterator[list[Rates]]:
    """What the engines did in each interval."""
    before = _look(client)
    while True:
        time.sleep(interval)
        after = _look(client)
        yield rates(before, after)
        before = after


def _look(client: Client) -> Look:
    return Look(client.metrics(METRICS), time.monotonic())


def _watch(seen: Iterator[list[Rates]], title: str) -> None:
    """Show them on the screen, as many as it has room for."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    try:
        with Live(Text("Looking …"), console=console, screen=True, auto_refresh=False) as live:
            for engines in seen:
                fit = engines[: max(1, console.height - BESIDES)]
                rest = len(engines) - len(fit)
                more = [f"and {rest} more"] if rest else []
                text = "\n".join([title, *_lines(fit), *more])
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
    except KeyboardInterrupt:
        return


def _lines(engines: Sequence[Rates]) -> list[str]:
    return table(COLUMNS, [_cells(engine) for engine in engines])


def _cells(engine: Rates) -> list[str]:
    return [
        engine.name or "-",
        str(engine.id),
        f"{engine.requests_per_second:.1f}",
        f"{engine.failed_per_second:.1f}",
        _shown(engine.p50_ms, 2),
        _shown(engine.p99_ms, 2),
        _shown(engine.items_per_execution, 1),
        str(engine.queued),
        f"{engine.busy}/{engine.instances}" if engine.instances else "-",
        shown_bytes(engine.memory_bytes),
    ]


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
