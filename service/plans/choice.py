"""Decides what becomes of an upload: a plan that is loaded as it is, or a model that a plan is built from."""

import asyncio
from typing import NamedTuple

from runtime_ext import Runtime
from trtserve.errors import InvalidInput
from trtserve.formats.backends import TENSORRT, backend_of
from trtserve.formats.format import Format
from trtserve.formats.sniff import tell_format
from trtserve.options.batching import AUTO
from trtserve.options.build_options import AUTO_PROFILE, BuildOptions, BuildRequest, build_options
from trtserve.options.engine_options import EngineOptions, UploadOptions
from trtserve.plans.build import choose_builder
from trtserve.plans.checks import choose_format
from trtserve.settings import Settings


class Choice(NamedTuple):
    format: Format  # of the file
    options: EngineOptions  # what was asked for of the engine
    build: BuildOptions | None = None  # None: the file is loaded as it is
    archived: bool = False  # the file is an archive of it; see plans/onnx_archives


async def choose(
    runtime: Runtime,
    settings: Settings,
    head: bytes,
    format: str,
    *,
    asked: UploadOptions,
    build: BuildRequest,
) -> Choice:
    """What becomes of the file with this head; `format` is a format or "auto".

    Raises InvalidInput for options that do not go together or with the file, Unsupported if nothing here can
    build the plan, and the errors of choose_format().
    """
    found, sniffed = tell_format(head, format)
    what = sniffed.what
    if found is Format.ONNX and _is_built(settings, asked, build):
        built = await _choose_build(runtime, settings, asked, build)
        return built._replace(archived=sniffed.archived)
    if build.backend not in {"auto", backend_of(found).name}:
        raise InvalidInput(
            f"The file is {what}, which the backend {backend_of(found).name} loads, but backend="
            f"{build.backend} was asked for: leave it out, or upload a file that {build.backend} loads"
            + (", or an ONNX model to build a plan from." if build.backend == TENSORRT.name else ".")
        )
    for option in build.asked_of_build():
        raise InvalidInput(
            f"{option} is an option of the build of a plan, and nothing is built here: the file is {what}. "
            + (
                "Ask for backend=tensorrt, and a plan is built from it."
                if found is Format.ONNX
                else f"Leave {option} out, or upload the ONNX model and ask for backend=tensorrt."
            )
        )
    chosen = await choose_format(runtime, head, format)
    return Choice(chosen, asked.options(), archived=sniffed.archived)


def _is_built(settings: Settings, asked: UploadOptions, build: BuildRequest) -> bool:
    if build.backend != "auto":
        return build.backend == TENSORRT.name
    return asked.for_build().decided(settings).device.startswith("cuda")


async def _choose_build(
    runtime: Runtime, settings: Settings, asked: UploadOptions, build: BuildRequest
) -> Choice:
    options = asked.for_build()
    decided = options.decided(settings)
    if decided.device == "cpu":
        raise InvalidInput(
            "device is cpu, but a plan of TensorRT is built on a GPU, for it, and runs there: ask for "
            "device=cuda or cuda:N, or for backend=openvino, which runs the model on the CPU."
        )
    told = build_options(
        build.profile,
        precision=asked.asked().get("precision", "auto"),
        max_batch_size=AUTO_PROFILE if decided.max_batch_size == AUTO else decided.max_batch_size,
        workspace_bytes=build.workspace_bytes,
        timing_cache=build.timing_cache,
    )
    await asyncio.to_thread(choose_builder, runtime)
    return Choice(Format.ONNX, options, told)
