"""Whether this server, or one of its engines, takes requests now."""

from runtime_ext import Runtime
from service.engine import Resolved
from service.errors import Unavailable
from service.registry import Registry


def check_server(runtime: Runtime, registry: Registry) -> None:
    """Unavailable while stored engines are loading, and once a device is dead."""
    dead = runtime.dead_devices()
    if dead:
        told = [_is_dead(device, reason) for device, reason in sorted(dead.items())]
        raise Unavailable(f"{' '.join(told)} Restart the server.")
    if registry.loading:
        told = [f"Stored engines are still loading: {registry.loading} to go.", *registry.load_problems()]
        raise Unavailable(" ".join(told))


def check_model(runtime: Runtime, registry: Registry, ref: str, version: str | None) -> Resolved:
    """The engine, if it takes requests: NotFound, or Unavailable with the reason, where it does not."""
    resolved = registry.ready(ref, version)
    info = resolved.engine.info
    dead = runtime.dead_devices()
    if info is not None and info.device in dead:
        raise Unavailable(f"{_is_dead(info.device, dead[info.device])} Restart the server.")
    return resolved


def _is_dead(device: str, reason: str) -> str:
    return f"Device {device} is dead: {reason.rstrip('.')}."
