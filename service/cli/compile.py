"""`trtserve compile`: make a module of a model whose largest part is an engine, without a server."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from trtserve.cli.build_flags import FILE, build_flags
from trtserve.errors import TrtserveError
from trtserve.options.build_options import build_options

if TYPE_CHECKING:
    import torch

    from runtime_ext import BuildOptions


class _Input(click.ParamType):  # type: ignore[type-arg]  # generic only for type checkers
    """An example of an input: its datatype and its shape."""

    name = "FP32:1x3x224x224"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"([A-Z]+\d+|BOOL):(\d+(?:x\d+)*)?", str(value))
        if found is None:
            self.fail(f"{value!r} is not a datatype and a shape, such as {self.name}", param, ctx)
        return found[1], [int(size) for size in found[2].split("x")] if found[2] else []


@click.command("compile")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=FILE, required=True, metavar="MODULE", help="Write the module to this file."
)
@click.option(
    "--plan",
    type=FILE,
    metavar="PLAN",
    help="Write the engine's plan to this file; the module then calls the engine by its ID, as a server "
    "needs it.  [default: the module carries the engine]",
    show_default=False,
)
@click.option(
    "--input",
    "inputs",
    type=_Input(),
    multiple=True,
    help="Datatype and shape of an example of an input, in the order of the model's; a .pt2 has its own.",
)
@click.option(
    "--tolerance",
    type=float,
    default=1e-3,
    help="How far results may be from PyTorch's, relative and absolute.",
)
@click.option(
    "--backend",
    type=click.Choice(["openvino", "tensorrt"]),
    default="openvino",
    help="What runs the engine; the options below say how tensorrt builds its plan, on this machine's GPU.",
)
@build_flags
@click.pass_context
def compile_model(
    context: click.Context,
    /,
    *,
    model: Path,
    output: Path,
    plan: Path | None,
    inputs: tuple[tuple[str, list[int]], ...],
    tolerance: float,
    backend: str,
    **given: Any,
) -> None:
    """Compile MODEL, a TorchScript file or the .pt2 of torch.export.save.

    The largest part that can be an engine becomes one, and torch keeps the rest. The result is a TorchScript
    module, which was compared with the model.
    """
    # This imports torch, which takes seconds: no other command should.
    import runtime_ext

    build = _build(context, backend, **given)
    for folder in {file.absolute().parent for file in (output, plan) if file is not None}:
        if not folder.is_dir():
            raise click.ClickException(f"There is no folder {folder} to write to.")
    try:
        loaded, examples = _load(model)
        examples = [_example(*each) for each in inputs] or examples
        if not examples:
            raise click.ClickException("The file has no example inputs: give one --input for each input.")
        compiled = runtime_ext.compile(
            loaded, examples, backend=backend, tolerance=tolerance, name=model.stem, build=build
        )
        if plan is None:
            compiled.save(output)
        else:
            compiled.save_parts(output, plan)
    except (runtime_ext.CompileError, runtime_ext.Error, ImportError) as failure:
        sentence = str(failure)
        raise click.ClickException(f"{sentence[:1].upper()}{sentence[1:]}") from failure
    click.echo(
        f"Wrote {output}: engine {compiled.engine} runs {len(compiled.in_engine)} operators, torch runs "
        f"{len(compiled.in_torch)}{_listed(compiled.in_torch)}. The results differ from PyTorch's by at most "
        f"{compiled.largest_error:.2g}."
    )


def _build(
    context: click.Context,
    backend: str,
    *,
    device: str,
    profiles: tuple[str, ...],
    timing_cache: Path | None,
    **given: Any,
) -> "BuildOptions | None":
    """How the plan is built; None for a backend that builds none."""
    import runtime_ext

    if backend != "tensorrt":
        flags = ("device", "profiles", "timing_cache", *given)
        asked = [flag for flag in flags if context.get_parameter_source(flag) is ParameterSource.COMMANDLINE]
        if asked:
            flag = {"profiles": "profile"}.get(asked[0], asked[0]).replace("_", "-")
            raise click.ClickException(f"--{flag} says how a plan is built: it needs --backend tensorrt.")
        return None
    try:
        options = build_options(profiles, **given, timing_cache=timing_cache is not None)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    cache = str(timing_cache.absolute()) if timing_cache is not None else ""
    return runtime_ext.BuildOptions(**options.for_runtime(device, cache))


def _load(model: Path) -> tuple[Any, list["torch.Tensor"]]:
    """The model, and its example inputs if the file has them."""
    import torch

    if model.suffix == ".pt2":
        try:
            program = torch.export.load(model)
        except Exception as failure:  # of many types, from several libraries
            raise click.ClickException(
                f"{model} was not written by torch.export.save: {failure}"
            ) from failure
        given, _ = program.example_inputs or ((), {})
        return program, list(given)
    try:
        return torch.jit.load(model).eval(), []  # type: ignore[no-untyped-call]
    except RuntimeError as failure:
        told = next((line for line in str(failure).splitlines() if line.strip()), "it cannot be read")
        raise click.ClickException(f"{model} is not a TorchScript file: {told}") from failure


def _example(datatype: str, shape: list[int]) -> "torch.Tensor":
    """Random numbers between 0 and 1; whole ones are 0 or 1."""
    import torch

    from runtime_ext.operators import DTYPES

    if datatype not in DTYPES:
        raise click.ClickException(f"{datatype} is not a datatype; there are {', '.join(DTYPES)}.")
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(shape, generator=generator)
        .mul(1 if DTYPES[datatype].is_floating_point else 2)
        .to(DTYPES[datatype])
    )


def _listed(operators: list[str]) -> str:
    names = sorted({name.split("::")[-1] for name in operators})
    return f" ({', '.join(names)})" if names else ""
