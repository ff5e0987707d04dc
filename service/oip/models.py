"""Answers the Open Inference Protocol's questions about models, except inference, for HTTP and gRPC."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from runtime_ext import Runtime
from trtserve.engines import readiness
from trtserve.engines.registry import Registry
from trtserve.errors import NotFound, unknown_model
from trtserve.oip import describe
from trtserve.oip.model_config import describe_config
from trtserve.oip.statistics import statistics

Answer = dict[str, Any]

P = ParamSpec("P")
T = TypeVar("T")


def _in_the_protocols_words(tell: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Rewords NotFound for a model in the words that clients look for."""

    @wraps(tell)
    async def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await tell(*args, **kwargs)
        except NotFound as missing:
            raise unknown_model(missing) from None

    return told


class Models:
    """Every method raises NotFound for an unknown model or version. Belongs to the event loop."""

    def __init__(self, registry: Registry, runtime: Runtime) -> None:
        self._registry = registry
        self._runtime = runtime

    @_in_the_protocols_words
    async def metadata(self, name: str, version: str | None) -> Answer:
        """Versions, inputs and outputs of a model. Shapes are whole; -1 is a dynamic dimension."""
        resolved = await self._registry.described(name, version)
        return describe.metadata(resolved, describe.versions(self._registry, resolved))

    @_in_the_protocols_words
    async def ready(self, name: str, version: str | None) -> Answer:
        """200 if the model accepts requests; otherwise 503 with the reason, or 404."""
        resolved = readiness.check_model(self._runtime, self._registry, name, version)
        return {"name": resolved.model_name, "ready": True}

    @_in_the_protocols_words
    async def config(self, name: str, version: str | None) -> Answer:
        """The model in the words of Triton's model configuration."""
        resolved = await self._registry.described(name, version)
        return describe_config(resolved, describe.versions(self._registry, resolved))

    @_in_the_protocols_words
    async def statistics(self, name: str | None, version: str | None) -> Answer:
        """What the model has done since it was loaded, for all versions if none is named."""
        return statistics(self._registry, self._runtime, name, version)

    @_in_the_protocols_words
    async def check(self, name: str) -> None:
        """Raise NotFound unless there is such a model, in any state."""
        self._registry.resolve(name)
