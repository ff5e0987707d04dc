"""The Ray Serve application: `import_path: trtserve.ray.application:app` in a Serve config.

Ray decides how many replicas there are, and tells each what to serve (config.py). It tells a change to a few
of them at a time, and goes on once these are healthy: this is the rolling update.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray import serve

from trtserve.ray.arrays import Array
from trtserve.ray.config import Arguments, Served
from trtserve.ray.local_store import LocalStore
from trtserve.ray.replica import Replica
from trtserve.ray.shared_plans import SharedPlans
from trtserve.ray.unchanging import RefuseChanges
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application

MOST_ONGOING = 256
"""Requests that a replica has at one time, of all its engines: enough to form batches. Ray's default is 5."""
DRAIN_S = 30.0


def app(args: Arguments) -> "Application":
    """The application; a Serve config can change every option of its deployment, `Engines`."""

    def build() -> FastAPI:
        return _in_a_replica(args.settings)

    deployment = serve.deployment(
        serve.ingress(build)(Engines),
        name="Engines",
        max_ongoing_requests=MOST_ONGOING,
        graceful_shutdown_timeout_s=DRAIN_S,
    )
    return deployment.bind(args.plans)


def _in_a_replica(settings: Mapping[str, Any]) -> FastAPI:
    """The application of a server, on a store of this process's own."""
    given = Settings(**settings)
    store = LocalStore.take(Path(given.store).absolute())
    made = create_app(given.model_copy(update={"store": store.root}), lock=store.descriptor)
    made.add_middleware(RefuseChanges)
    made.state.local_store = store
    return made


class Engines:
    """The deployment: an object in each replica. Its HTTP is the server's, but for what would change it."""

    app: FastAPI  # of serve.ingress(), which also starts and ends it

    def __init__(self, plans: str) -> None:
        self._plans = SharedPlans(plans)
        self._made: Replica | None = None

    @property
    def _replica(self) -> Replica:
        if self._made is None:
            self._made = Replica(services_of(self.app), self._plans)
        return self._made

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve this and nothing else. Ray calls it at the start, and when `user_config` has changed."""
        await self._replica.serve(Served.read(user_config))

    async def infer(
        self,
        name: str,
        tensors: Mapping[str, Any] | None = None,
        /,
        *,
        version: int | None = None,
        timeout_s: float | None = None,
        **named: Any,
    ) -> dict[str, Array]:
        """Run an engine once: handle.infer.remote("m", x=array), or a dict for any name. Arrays by name.

        Raises the errors of trtserve.errors.
        """
        return await self._replica.infer(name, {**(tensors or {}), **named}, version, timeout_s)

    async def check_health(self) -> None:
        """Ray replaces a replica for which this raises, thrice in a row."""
        self._replica.check()

    def __del__(self) -> None:
        """Called once the application has ended, which serve.ingress() sees to."""
        made = getattr(self, "app", None)
        if made is not None:
            made.state.local_store.close()
