"""The command `trtserve`: start a server, or talk to one."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
import orjson
from pydantic.fields import FieldInfo

from service.cli_names import names
from service.cli_server import print_table, server_option, talking_to
from service.cli_settings import settings_of
from service.cli_store import store
from service.client import SAFETENSORS, binary_request
from service.errors import TrtserveError
from service.settings import MAX_BATCH_SIZE, MAX_DELAY_US, Settings
from service.version import VERSION

Command = TypeVar("Command", bound=Callable[..., Any])

PLAN = click.Path(exists=True, dir_okay=False, path_type=Path)
FORMAT = click.Choice(["auto", "tensorrt", "onnx", "openvino"])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(VERSION, prog_name="trtserve")
def main() -> None:
    """A model server for serialized TensorRT engines, ONNX models and OpenVINO blobs."""


# -- trtserve serve


def _settings_options(command: Command) -> Command:
    """One option for each setting; what is not given is left to the environment and the default."""
    for name, field in reversed(Settings.model_fields.items()):
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=_choice(field),
            metavar=None if _choice(field) else _metavar(name, field),
            help=f"{field.description}  [env: TRTSERVE_{name.upper()}; default: {_shown(field.default)}]",
            show_default=False,
        )(command)
    return command


def _choice(field: FieldInfo) -> click.Choice[str] | None:
    return click.Choice(get_args(field.annotation)) if get_origin(field.annotation) is Literal else None


def _metavar(name: str, field: FieldInfo) -> str:
    return "ON|OFF" if field.annotation is bool else name.rsplit("_", 1)[-1].upper()


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) if default not in {None, ""} else "none"


@main.command()
@_settings_options
def serve(**given: str | None) -> None:
    """Start the server; it runs until it is told to stop (SIGINT, SIGTERM)."""
    settings = settings_of(given)

    from service.server import serve as run  # imports torch: seconds that no other command should take

    try:
        started = run(settings)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    sys.exit(0 if started else 1)


# -- trtserve tune


def _numbers(least: int, most: int, word: str | None = None) -> Callable[..., tuple[int | str, ...]]:
    """Reads whole numbers with commas between them, each once; and a word, where there is one."""

    def read(_: click.Context, param: click.Parameter, given: str) -> tuple[int | str, ...]:
        numbers: dict[int | str, None] = {}
        for part in map(str.strip, given.split(",")):
            if part == word:
                numbers[part] = None
                continue
            if not re.fullmatch(r"[0-9]{1,9}", part) or not least <= int(part) <= most:
                also = f" or {word}" if word else ""
                raise click.BadParameter(f"{part!r} is no number from {least} to {most}{also}.", param=param)
            numbers[int(part)] = None
        return tuple(numbers)

    return read


class _Amount(click.FloatRange):
    """A number above 0. Of click's own range, nan is a member: it is neither below nor above."""

    def __init__(self, most: float) -> None:
        super().__init__(0, most, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount = float(super().convert(value, param, ctx))
        if math.isnan(amount):
            self.fail(f"{value!r} is no number above 0, and {self.max:g} at most.", param, ctx)
        return amount


@main.command()
@click.argument("ref", metavar="NAME|ID|PLAN")
@click.option("--store", metavar="DIR", help="Where the engine is.  [env: TRTSERVE_STORE]")
@click.option("--format", type=FORMAT, default="auto", help="Format of the plan, where a file is given.")
@click.option(
    "--latency-ms",
    type=_Amount(10_000),
    default=10.0,
    metavar="MS",
    help="What the 99th percentile must be within.",
)
@click.option(
    "--concurrency",
    metavar="N,N…",
    callback=_numbers(1, 10_000),
    default="1,8,64",
    help="Requests outstanding.",
)
@click.option(
    "--seconds",
    type=_Amount(3600),
    default=1.0,
    metavar="S",
    help="Length of one measurement.",
)
@click.option(
    "--instances",
    metavar="N,N…",
    callback=_numbers(1, 256),
    default="1,2",
    help="Numbers of instances to try.",
)
@click.option(
    "--batch",
    metavar="N,N…",
    callback=_numbers(1, MAX_BATCH_SIZE),
    default="1,4,16,64",
    help="Batch sizes to try.",
)
@click.option(
    "--delay-us",
    metavar="N,N…",
    callback=_numbers(0, MAX_DELAY_US, "auto"),
    default="0,500,auto",
    help="Delays to try.",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="X:N,N…", help="Whole shape of an input, as x:1,3,224,224."
)
def tune(ref: str, store: str | None, **asked: Any) -> None:
    """Measure which instances, batch size and delay are best for an engine on this machine.

    A plan file, or an engine of a store, also while a server runs on that.
    """
    settings = settings_of({"store": store})

    from service.tune import run  # imports torch: seconds that no other command should take

    try:
        report = run(ref, asked, settings, lambda line: click.echo(line, err=True))
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    click.echo("\n".join(report.lines))
    sys.exit(0 if report.complete else 130)  # as a shell tells of Ctrl-C


main.add_command(store)


# -- what talks to a server

main.add_command(names)


@main.group()
def engines() -> None:
    """List, add, remove and show the engines of a server."""


@engines.command("ls")
@server_option
def list_engines(server: str) -> None:
    """List the engines."""
    with talking_to(server) as client:
        found = client.engines()
    columns = ["id", "name", "version", "state", "backend", "device", "instances"]
    print_table(columns, [[engine[column] for column in columns] for engine in found])


@engines.command("add")
@click.argument("plan", type=PLAN)
@click.option("--name", help="What to call the engine.")
@click.option("--format", type=FORMAT, help="Format of the plan.")
@click.option("--instances", type=int, help="How many requests run at the same time; 0: the backend chooses.")
@click.option("--max-queue-size", type=int, help="How many requests may wait.")
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["f32", "f16", "bf16"]), help="Of the openvino backend.")
@click.option("--cuda-graphs", type=click.Choice(["off", "auto", "on"]), help="Of an engine on a GPU.")
@click.option("--max-batch-size", type=int, help="How many items requests are joined up to; 1: none are.")
@click.option("--max-queue-delay-us", metavar="US|auto", help="How long a request may wait for others.")
@click.option("--latency-target-us", type=int, metavar="US", help="Latency that an auto delay keeps to.")
@click.option("--preferred-batch-sizes", metavar="N,N...", help="Batch sizes that need not wait for more.")
@click.option("--batch-dims", metavar="TENSOR:DIM,...", help="The batch dimension, where it is not 0.")
@server_option
def add_engine(server: str, plan: Path, **query: str | int | None) -> None:
    """Upload PLAN and wait until its engine is ready."""
    asked = {name: value for name, value in query.items() if value is not None}
    size = plan.stat().st_size
    arrived = 0

    label = f"Sending {plan.name} ({size / 1e6:.1f} MB)"
    with talking_to(server) as client, click.progressbar(length=size, label=label, file=sys.stderr) as bar:

        def sent(count: int) -> None:
            nonlocal arrived
            arrived += count
            bar.update(count)
            if arrived == size:
                bar.render_finish()
                click.echo("Sent; the engine is loading …", err=True)

        engine, created = client.add(plan, asked, sent)
    known = f" ({engine['name']}, version {engine['version']})" if engine["name"] else ""
    loaded = f"loaded in {engine['load_seconds']:.2f} s" if created else "was there already"
    click.echo(f"Engine {engine['id']}{known} is {engine['state']}: {loaded}.")


@engines.command("rm")
@click.argument("refs", metavar="ID|NAME...", nargs=-1, required=True)
@server_option
def remove_engines(server: str, refs: tuple[str, ...]) -> None:
    """Remove engines; returns when they have drained."""
    with talking_to(server) as client:
        for ref in refs:
            client.remove(ref)
            click.echo(f"Removed {ref}.")


@engines.command("show")
@click.argument("ref", metavar="ID|NAME")
@server_option
def show_engine(server: str, ref: str) -> None:
    """Show everything about an engine, as JSON."""
    with talking_to(server) as client:
        click.echo(orjson.dumps(client.engine(ref), option=orjson.OPT_INDENT_2))


@main.command()
@click.argument("ref", metavar="ID|NAME")
@click.option(
    "--input",
    "inputs",
    metavar="X=FILE.npy|FILE.safetensors",
    multiple=True,
    required=True,
    help="An input tensor by its name (give one for each), or one file with all of them.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the outputs to this .safetensors file; else a summary is printed.",
)
@server_option
def infer(server: str, ref: str, inputs: tuple[str, ...], output: Path | None) -> None:
    """Run the engine once."""
    body, headers = _request(inputs)
    headers["Accept"] = SAFETENSORS if output else "application/json"
    with talking_to(server) as client:
        answer = client.infer(ref, body, headers)
    if output:
        output.write_bytes(answer)
        click.echo(f"Wrote {output} ({len(answer)} bytes).")
        return
    for tensor in orjson.loads(answer)["outputs"]:
        shown = ", ".join(map(str, tensor["data"][:8])) + (", …" if len(tensor["data"]) > 8 else "")
        click.echo(f"{tensor['name']}  {tensor['datatype']} {tensor['shape']}  {shown}")


def _request(inputs: tuple[str, ...]) -> tuple[bytes, dict[str, str]]:
    """Body and headers for what --input names."""
    import numpy as np

    if len(inputs) == 1 and inputs[0].endswith(".safetensors") and "=" not in inputs[0]:
        return _read(inputs[0], lambda path: path.read_bytes()), {"Content-Type": SAFETENSORS}
    tensors = {}
    for given in inputs:
        name, equals, file = given.partition("=")
        if not equals or not name or not file.endswith(".npy"):
            raise click.UsageError(
                f"--input {given!r} is neither NAME=FILE.npy nor, alone, FILE.safetensors with all inputs."
            )
        tensors[name] = _read(file, lambda path: np.load(path, allow_pickle=False))
    return binary_request(tensors)


Content = TypeVar("Content")


def _read(file: str, read: Callable[[Path], Content]) -> Content:
    try:
        return read(Path(file))
    except (OSError, ValueError) as failure:
        raise click.UsageError(f"{file} cannot be read: {failure}.") from failure
