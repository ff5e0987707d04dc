"""The command `trtserve`: start a server, or talk to one."""

import click

from trtserve.cli.bench import bench
from trtserve.cli.build import build
from trtserve.cli.compile import compile_model
from trtserve.cli.engines import engines
from trtserve.cli.infer import infer
from trtserve.cli.models import load, reload_model, stats, unload
from trtserve.cli.names import names
from trtserve.cli.serve import serve
from trtserve.cli.server import logs, status, version
from trtserve.cli.store import store
from trtserve.cli.tokens import tokens
from trtserve.cli.top import top
from trtserve.cli.tune import tune
from trtserve.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(VERSION, prog_name="trtserve")
def main() -> None:
    """Serve TensorRT plans, ONNX models, OpenVINO blobs and TorchScript modules over HTTP and gRPC."""


for command in (
    serve,
    build,
    compile_model,
    tune,
    store,
    tokens,
    names,
    engines,
    infer,
    bench,
    load,
    unload,
    reload_model,
    stats,
    top,
    status,
    version,
    logs,
):
    main.add_command(command)
