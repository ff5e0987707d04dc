"""`trtserve tune`: measure which settings are best for an engine on this machine."""

import sys
from pathlib import Path
from typing import Any

import click

from trtserve.cli.console import FORMAT, json_option, print_json, talking_to
from trtserve.cli.live import screen
from trtserve.cli.numbers import Amount, numbers
from trtserve.cli.settings import settings_of
from trtserve.errors import TrtserveError
from trtserve.settings import MAX_BATCH_SIZE, MAX_DELAY_US


@click.command()
@click.argument("ref", metavar="NAME|ID|PLAN")
@click.option("--store", metavar="DIR", help="Where the engine is.  [env: TRTSERVE_STORE]")
@click.option("--format", type=FORMAT, default="auto", help="Format of the plan, if a file is given.")
@click.option(
    "--latency-ms",
    type=Amount(10_000),
    default=10.0,
    metavar="MS",
    help="Upper bound of the 99th percentile.",
)
@click.option(
    "--concurrency",
    metavar="N,N…",
    callback=numbers(1, 10_000),
    default="1,8,64",
    help="Requests outstanding.",
)
@click.option(
    "--budget",
    "budget_s",
    type=Amount(86_400),
    default=60.0,
    metavar="S",
    help="Seconds for all of it; the more, the more exact.",
)
@click.option(
    "--instances",
    metavar="N,N…",
    callback=numbers(1, 256),
    default="1,2",
    help="Numbers of instances to try.",
)
@click.option(
    "--batch",
    metavar="N,N…",
    callback=numbers(1, MAX_BATCH_SIZE),
    default="1,4,16,64",
    help="Batch sizes to try.",
)
@click.option(
    "--delay-us",
    metavar="N,N…",
    callback=numbers(0, MAX_DELAY_US, "auto"),
    default="0,500,auto",
    help="Delays to try.",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="X:N,N…", help="Whole shape of an input, as x:1,3,224,224."
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.svg|FILE.png",
    help="Draw throughput over p99 latency; needs the extra trtserve[plot].",
)
@click.option("--server", metavar="URL", help="Tune an engine of this server in place, while it serves.")
@click.option("--apply", is_flag=True, help="With --server: leave the engine with the best setting.")
@json_option
def tune(
    ref: str,
    store: str | None,
    picture: Path | None,
    server: str | None,
    *,
    apply: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Find the instances, batch size and delay that suit an engine best.

    It measures on this machine. It takes a plan file, or an engine of a store, even while a server uses the
    store. With --server it takes an engine of a running server, gives it each setting while it serves, and in
    the end the options that it had. The best row so far is shown whenever there is a better one. Exits with
    130 after Ctrl-C.
    """
    if apply and server is None:
        raise click.UsageError("--apply goes with --server.")
    if server is not None and (store is not None or asked["format"] != "auto"):
        raise click.UsageError("--store and --format do not go with --server.")
    settings = settings_of({"store": store})

    # These import torch, which takes seconds: no other command should.
    from trtserve.tune.plot import check_plot, plot
    from trtserve.tune.served import tune_served
    from trtserve.tune.tuning import run
    from trtserve.tune.watcher import Shown

    try:
        if picture is not None:
            check_plot(picture)
        with screen() as shown:
            watcher = Shown(shown.line, shown.at)
            if server is None:
                report = run(ref, asked, settings, watcher)
            else:
                with talking_to(server) as client:
                    report = tune_served(client, ref, asked, watcher, apply=apply)
        if picture is not None and report.rows:
            plot(picture, report.title, report.rows, report.best, asked["latency_ms"])
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    except OSError as failure:
        raise click.ClickException(f"{failure.filename}: {failure.strerror}.") from failure
    if as_json:
        print_json(report.document())
    else:
        click.echo("\n".join(report.lines()))
    sys.exit(0 if report.complete else 130)  # as shells report Ctrl-C
