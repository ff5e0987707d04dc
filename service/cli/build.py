"""`trtserve build`: build a plan from an ONNX model, without a server."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from trtserve.cli.build_flags import FILE, build_flags
from trtserve.cli.settings import settings_of
from trtserve.errors import TrtserveError
from trtserve.options.build_options import BuildOptions, build_options
from trtserve.settings import Settings

STEPS = 1000  # of the progress bar
CANCELLED = 130  # as shells report Ctrl-C


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=FILE, required=True, metavar="PLAN", help="Write the plan to this file.")
@build_flags
def build(
    model: Path, output: Path, timing_cache: Path | None, device: str, profiles: tuple[str, ...], **given: Any
) -> None:
    """Build a plan for this machine's GPU from the ONNX file MODEL.

    The plan runs with this version of TensorRT on such a GPU; POST /engines?backend=tensorrt builds on the
    server instead, and again after an upgrade.
    """
    settings = settings_of({"device": device})
    try:
        options = build_options(profiles, **given, timing_cache=timing_cache is not None)
        target = _build(model, output, options, timing_cache, settings)
    except TrtserveError as failure:
        raise click.ClickException(str(failure)) from failure
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("Cancelled: nothing was written.", err=True)
        sys.exit(CANCELLED)
    click.echo(f"Wrote {output} ({output.stat().st_size / 1e6:.1f} MB), built for {target}.")


def _build(
    model: Path, output: Path, options: BuildOptions, timing_cache: Path | None, settings: Settings
) -> str:
    """Build the plan and move it to its place; return what it was built for."""
    # These import torch, which takes seconds: no other command should.
    from runtime_ext.backends import create_runtime
    from trtserve.engines.seam_options import tensorrt_options
    from trtserve.formats.format import Format
    from trtserve.formats.not_a_plan import HEAD_BYTES
    from trtserve.formats.sniff import tell_format
    from trtserve.plans.build import Job, ProcessBuild, Step, choose_builder

    with model.open("rb") as file:
        tell_format(file.read(HEAD_BYTES), Format.ONNX)
    if not output.parent.is_dir():
        raise click.ClickException(f"There is no folder {output.parent} to write the plan to.")
    tensorrt = tensorrt_options(settings)
    runtime = create_runtime(tensorrt=tensorrt)
    try:
        backend = choose_builder(runtime)
    finally:
        runtime.close()
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    cache = str(timing_cache.absolute()) if timing_cache is not None else ""
    told = options.for_runtime(settings.device, cache)
    # The file is the caller's own, and so are those beside it: unlike an upload, it may have its data there.
    job = Job(backend, model, part, {**told, "external_data": True})
    label = f"Building {model.name}"
    try:
        with click.progressbar(
            length=STEPS, label=label, file=sys.stderr, item_show_func=lambda phase: phase, show_eta=False
        ) as bar:

            def tell(step: Step) -> None:
                at = bar.pos if step.fraction is None else int(STEPS * step.fraction)
                bar.update(max(0, at - bar.pos), step.phase)

            target = asyncio.run(_until_ended(ProcessBuild(tensorrt, None)(job, tell)))
            bar.update(STEPS - bar.pos, "done")
        part.replace(output)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return target


async def _until_ended(build: Any) -> str:
    """Run the build; SIGTERM cancels it as Ctrl-C does."""
    task = asyncio.ensure_future(build)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    target: str = await task
    return target
