"""`trtserve infer`: run an engine of a server once, on tensors from files or on random ones."""

from pathlib import Path

import click
import orjson

from trtserve.cli.console import json_option, server_option, talking_to
from trtserve.cli.tensor_files import WRITTEN, InferBody, read_inputs, write_outputs
from trtserve.client.bodies import ACCEPTED
from trtserve.client.random_inputs import random_inputs


@click.command()
@click.argument("ref", metavar="ID|NAME")
@click.option(
    "--input",
    "inputs",
    metavar="X=FILE|FILE.npz|FILE.json|FILE.safetensors",
    multiple=True,
    help="An input tensor by its name (give one for each), or one file with all of them.",
)
@click.option("--random", is_flag=True, help="Make up the inputs; a dimension that may vary is 1.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help=f"Write the outputs to this file, one of {', '.join(WRITTEN)}; else a summary is printed.",
)
@json_option
@server_option
def infer(
    server: str, ref: str, inputs: tuple[str, ...], *, random: bool, output: Path | None, as_json: bool
) -> None:
    """Run an engine once.

    A .npy holds one tensor; any other file after X= is the one string that an input of strings takes, such as
    a JPEG. A .json is the body of a request, or an object of lists by the inputs' names.
    """
    if bool(inputs) == random:
        raise click.UsageError("Give --input for each input, or --random.")
    if output and output.suffix not in WRITTEN:
        raise click.UsageError(f"--output {output} has none of the endings {', '.join(WRITTEN)}.")
    with talking_to(server) as client:
        if random:
            body = InferBody.of(random_inputs(client.engine(ref)["inputs"]))
        else:
            body = read_inputs(inputs, lambda: client.engine(ref)["inputs"])
        accept = ACCEPTED if output and output.suffix != ".json" else "application/json"
        answer = client.infer_body(
            ref, body.content, content_type=body.media_type, accept=accept, headers=body.headers
        )
        if output:
            written = write_outputs(output, answer)
            click.echo(f"Wrote {output} ({written} bytes).", err=as_json)
            return
    if as_json:
        click.echo(answer.content)
        return
    for tensor in orjson.loads(answer.content)["outputs"]:
        shown = ", ".join(map(str, tensor["data"][:8])) + (", …" if len(tensor["data"]) > 8 else "")
        click.echo(f"{tensor['name']}  {tensor['datatype']} {tensor['shape']}  {shown}")
