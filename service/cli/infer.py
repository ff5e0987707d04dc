"""`trtserve infer`: run an engine of a server once, on tensors from files."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import orjson

from trtserve.cli.client import SAFETENSORS, binary_request
from trtserve.cli.console import server_option, talking_to


@click.command()
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
