"""`trtserve bench`: load on an engine of a server, and what came of it."""

import asyncio
import sys
from typing import Any

import click
import uvloop

from trtserve.cli.console import json_option, print_json, server_option, talking_to
from trtserve.cli.live import Screen, screen
from trtserve.cli.numbers import Amount, numbers
from trtserve.client import Client
from trtserve.client.load import Measured, Target, load
from trtserve.client.random_inputs import inputs_for

COLUMNS = ("concurrency", "requests/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors")


@click.command()
@click.argument("ref", metavar="ID|NAME")
@click.option(
    "--concurrency",
    metavar="N,N…",
    callback=numbers(1, 10_000),
    default="1,8",
    help="Requests outstanding at once, each on a connection of its own.",
)
@click.option(
    "--seconds", type=Amount(3600), default=5.0, metavar="S", help="How long to measure each concurrency."
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="X:N,N…", help="Whole shape of an input, as x:1,3,224,224."
)
@json_option
@server_option
def bench(
    server: str,
    ref: str,
    concurrency: tuple[int, ...],
    seconds: float,
    shapes: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Measure how many requests a second an engine answers, and how fast.

    Sends random inputs. As many requests as --concurrency says are outstanding at all times. Times are the
    client's, from sending a request to having its whole answer. Exits with 1 if a request failed.
    """
    with talking_to(server) as client, screen() as shown:
        target = _target(client, ref, shapes)
        if not as_json:
            click.echo("  ".join(COLUMNS))
        found = [_measured(target, number, seconds, shown, as_json) for number in concurrency]
    if as_json:
        print_json([_document(measured) for measured in found])
    complaints = [complaint for measured in found if (complaint := _complaint(measured))]
    for complaint in complaints:
        click.echo(complaint, err=True)
    sys.exit(1 if complaints else 0)


def _complaint(measured: Measured) -> str | None:
    """What went wrong, in a sentence; None: nothing."""
    if measured.errors:
        told = ", ".join(f"{count} × {what}" for what, count in measured.errors.most_common())
        return f"At concurrency {measured.concurrency}: {told}. {measured.example or ''}"
    if not measured.latencies_s:
        return f"At concurrency {measured.concurrency} no request ended in this time: give more --seconds."
    return None


def _target(client: Client, ref: str, shapes: tuple[str, ...]) -> Target:
    inputs = inputs_for(client.engine(ref), shapes)
    client.infer(ref, inputs)  # a refusal is told at once
    return Target.of(client.infer_request(ref, inputs))


def _measured(target: Target, concurrency: int, seconds: float, shown: Screen, as_json: bool) -> Measured:
    shown.at(f"concurrency {concurrency}", 0.0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(load(target, concurrency, seconds))
    if not as_json:
        click.echo(
            "  ".join(cell.rjust(len(column)) for cell, column in zip(_cells(measured), COLUMNS, strict=True))
        )
    return measured


def _cells(measured: Measured) -> list[str]:
    times = [measured.percentile_ms(share) for share in (0.5, 0.95, 0.99, 1.0)]
    return [
        str(measured.concurrency),
        f"{measured.per_second:.4g}" if measured.per_second < 1000 else f"{measured.per_second:.0f}",
        *("-" if time is None else f"{time:.2f}" for time in times),
        str(measured.errors.total()),
    ]


def _document(measured: Measured) -> dict[str, Any]:
    return {
        "concurrency": measured.concurrency,
        "seconds": measured.seconds,
        "requests": len(measured.latencies_s),
        "requests_per_second": measured.per_second,
        **{f"p{share * 100:g}_ms": measured.percentile_ms(share) for share in (0.5, 0.95, 0.99)},
        "max_ms": measured.percentile_ms(1.0),
        "errors": dict(measured.errors),
        "error": measured.example,
    }
