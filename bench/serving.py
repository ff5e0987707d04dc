"""A server to measure: optionally pinned to a core, with engines from bench.models."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from bench.wrk import on_core
from tests.e2e.server import SERVE, Server


@contextmanager
def serving(
    folder: Path,
    core: int | None = None,
    *options: str,
    grpc: bool = False,
    command: Sequence[str] = (*SERVE, "serve"),
) -> Iterator[Server]:
    """Run a server with its own store: engines of an earlier measurement would be loaded and counted too."""
    store = Path(mkdtemp(dir=folder)) / "store"
    server = Server(store, "--log-level", "warning", *options, grpc=grpc, command=command)
    with on_core(core):
        server.start()
    try:
        yield server
    finally:
        server.client.close()
        server.stop()


def add(server: Server, name: str, plan: Path, **options: str | int) -> str:
    """Upload a plan; return the URL for inference."""
    answer = server.client.post("/engines", params={"name": name, **options}, content=plan.read_bytes())
    answer.raise_for_status()
    return f"{server.client.base_url}/engines/{name}/infer".replace("//engines", "/engines")
