"""One replica: the services of a server without its doors, which serve what they are told to.

Knows nothing of Ray, which calls it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from runtime_ext import Error
from trtserve.codec import BodyForm, Form, InferRequest
from trtserve.engines import readiness
from trtserve.errors import TrtserveError, Unavailable, of_kind
from trtserve.failures import tell
from trtserve.folder.files import RETRY_AFTER_S
from trtserve.inference.call import RequestHead
from trtserve.plans.choice import Choice, choose
from trtserve.plans.receive import receive_plan
from trtserve.ray.arrays import Array, inputs_of, outputs_of
from trtserve.ray.config import Served, SharedEngine
from trtserve.ray.shared_plans import SharedPlans
from trtserve.services import Services
from trtserve.store.rows import Exactly
from trtserve.workers import UPLOADS

if TYPE_CHECKING:
    from runtime_ext import Completion

logger = logging.getLogger(__name__)

ARRAYS = BodyForm(Form.PROTOCOL, header_length=None, timeout_ns=None, answer=None)


class Replica:
    """Belongs to the event loop of its services."""

    def __init__(self, services: Services, plans: SharedPlans) -> None:
        self._services = services
        self._plans = plans
        self._applied: dict[str, SharedEngine] = {}
        self._ids: dict[str, int] = {}  # of the engines of these
        self._changing = asyncio.Lock()  # guards the order of changes: one configuration after the other

    async def serve(self, served: Served) -> None:
        """Load what is new or has changed, move its name to it, and remove what is no longer served.

        A name keeps its engine until the new one is READY, so its requests notice nothing. Raises the first
        error; what was changed until then stays, and the next call goes on from there.
        """
        async with self._changing:
            for name, engine in served.engines.items():
                if self._applied.get(name) != engine:
                    self._ids[name] = await self._load(name, engine)
                    self._applied[name] = engine
            await self._remove_others(served)

    async def _load(self, name: str, engine: SharedEngine) -> int:
        """Make the engine this version of the name, and return its ID."""
        services = self._services

        def inspect(head: bytes) -> Awaitable[Choice]:
            return choose(
                services.runtime,
                services.settings,
                head,
                engine.format,
                asked=engine,
                build=engine.build(),
            )

        size = await self._plans.size(engine.sha256)
        plan, choice = await receive_plan(
            self._plans.blocks(engine.sha256),
            uploads=services.registry.uploads,
            open_writer=lambda: services.store.new_upload(size),
            inspect=inspect,
            limit=services.settings.max_plan_bytes,
            declared=size,
        )
        if plan.digest != engine.sha256:
            await UPLOADS.run(plan.discard)
            raise Unavailable(
                f"The plan {engine.sha256} in {self._plans.url} is damaged: its SHA-256 is {plan.digest}. "
                "Publish it again.",
                retry_after=RETRY_AFTER_S,
            )
        # All options, because those that an earlier configuration asked for and this one does not must go.
        options = choice.options.decided(services.settings)
        resolved, _ = await services.registry.add(
            plan,
            name=name,
            format=choice.format,
            options=options,
            build=choice.build,
            version=Exactly(engine.version),
        )
        logger.info("engine %s: serves version %s of %s", resolved.engine, engine.version, name)
        return resolved.engine.id

    async def _remove_others(self, served: Served) -> None:
        registry = self._services.registry
        for name in registry.names().keys() - served.engines.keys():
            self._applied.pop(name, None)
            self._ids.pop(name, None)
            while name in registry.names():  # one version after the other
                await registry.remove(name)
        for engine in reversed(registry.engines()):  # modules before what they call
            if engine.id not in self._ids.values():
                await registry.remove(str(engine.id))

    async def infer(
        self, name: str, tensors: Mapping[str, Any], version: int | None, timeout_s: float | None
    ) -> dict[str, Array]:
        """Run an engine once; its outputs by name.

        `timeout_s`: until the execution must have begun; None: the server's limit. Raises one of the ten
        kinds of error, which other processes can unpickle.
        """
        try:
            return await self._infer(name, tensors, version, timeout_s)
        except (TrtserveError, Error) as failure:
            told = tell(failure)
            raise of_kind(told.kind, told.sentence, told.retry_after) from None

    async def _infer(
        self, name: str, tensors: Mapping[str, Any], version: int | None, timeout_s: float | None
    ) -> dict[str, Array]:
        services = self._services
        timeout_ns = None if timeout_s is None else int(timeout_s * 1e9)
        request = InferRequest(inputs_of(tensors), timeout_ns=timeout_ns)
        head = RequestHead.of(name, None if version is None else str(version), ARRAYS, shared=False)
        with services.inflight.share() as share:
            share.grow_to(sum(data.nbytes for *_, data in request.inputs))  # type: ignore[attr-defined]
            ended: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
            call = services.inference.start_request(head, request, None, ended.set_result)
            try:
                completion = await ended
            finally:
                services.inference.abandon(call)
            return outputs_of(services.inference.outputs(call, completion))

    def check(self) -> None:
        """Raise Unavailable if this replica should be replaced: a device is dead, or an engine is stuck."""
        readiness.check_server(self._services.runtime, self._services.registry)
