"""Settings and stored options as the runtime takes them."""

import os
from pathlib import Path

from runtime_ext import LoadOptions
from runtime_ext.backends import OpenVinoOptions, TensorRtOptions
from trtserve.options.engine_options import EngineOptions
from trtserve.options.for_runtime import for_runtime
from trtserve.settings import Settings


def tensorrt_options(settings: Settings) -> TensorRtOptions:
    """What the tensorrt backend is told."""
    plugins = filter(None, settings.tensorrt_plugins.split(os.pathsep))
    return TensorRtOptions(
        library=settings.tensorrt_library,
        plugins=tuple(map(Path, plugins)),
        allow_host_code=settings.allow_host_code,
        spin=settings.gpu_spin,
    )


def openvino_options(settings: Settings) -> OpenVinoOptions:
    """What the openvino backend is told."""
    return OpenVinoOptions(
        shape_cache=settings.shape_cache,
        max_tensor_bytes=settings.max_tensor_bytes,
        allow_blobs=settings.allow_blobs,
    )


def load_options(options: EngineOptions, name: str = "") -> LoadOptions:
    """How an engine is loaded, under this name if it has one."""
    return LoadOptions(name=name, **for_runtime(options))
