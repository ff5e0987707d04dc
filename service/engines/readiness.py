"""Checks whether this server, or one of its engines, can take requests now."""

from collections.abc import Mapping
from dataclasses import dataclass

from runtime_ext import Condition, Error, Runtime
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.text import first_of

NAMED_AT_MOST = 10  # engines in a sentence


@dataclass(frozen=True)
class Troubles:
    """What is wrong with a server that can take requests, a sentence each."""

    degraded: list[str]  # about devices that are dead, while their engines answer from others
    stuck: list[str]  # about engines with stuck instances


def check_server(runtime: Runtime, registry: Registry) -> Troubles:
    """Raise Unavailable if more requests to this server cannot help.

    That is while stored engines or the models of a folder are loading, once a device is dead and an engine
    has no other or no engine is READY, and while all instances of an engine are stuck.
    """
    dead = runtime.dead_devices()
    if dead:
        ready = [engine for engine in registry.engines() if engine.state is State.READY]
        cut_off = [engine for engine in ready if not _alive(engine, dead)]
        if cut_off or not ready:
            told = [_is_dead(device, reason) for device, reason in sorted(dead.items())]
            raise Unavailable(" ".join([*told, *_cut_off(cut_off), "Restart the server."]))
    if registry.loading:
        told = [f"Stored engines are still loading: {registry.loading} to go.", *registry.load_problems()]
        told += [engine.why_not_ready() for engine in registry.building()]
        raise Unavailable(" ".join(told))
    if registry.coming:
        raise Unavailable(f"The models of the folder are still loading: {registry.coming} to go.")
    stuck = [(engine, condition(runtime, engine)) for engine in registry.engines()]
    lost = [_is_stuck(engine, now) for engine, now in stuck if now is not None and _all_are_stuck(now)]
    if lost:
        raise Unavailable(" ".join(lost))
    return Troubles(
        degraded=[
            f"{_is_dead(device, reason)} Restart the server when you can spare it: its engines answer from "
            "their other devices."
            for device, reason in sorted(dead.items())
        ],
        stuck=[_is_stuck(engine, now) for engine, now in stuck if now is not None and now.executions_stuck],
    )


def check_model(runtime: Runtime, registry: Registry, ref: str, version: str | None) -> Resolved:
    """The engine, if it can take requests. Raises NotFound, or Unavailable with the reason."""
    resolved = registry.serves(ref, version)
    dead = runtime.dead_devices()
    if not _alive(resolved.engine, dead):
        told = [_is_dead(device, dead[device]) for device in resolved.engine.loaded.devices]
        raise Unavailable(f"{' '.join(told)} Restart the server.")
    now = condition(runtime, resolved.engine)
    if now is not None and _all_are_stuck(now):
        raise Unavailable(_is_stuck(resolved.engine, now))
    return resolved


def condition(runtime: Runtime, engine: Engine) -> Condition | None:
    """The condition of a READY engine; None if it is not READY, or is being unloaded."""
    if engine.state is not State.READY:
        return None
    try:
        return runtime.condition(engine.id)
    except Error:
        return None


def memory(runtime: Runtime, engine: Engine) -> dict[str, dict[str, int]]:
    """Bytes by device and kind that the engine takes now or, if it is not resident, that it took."""
    if engine.state is not State.READY:
        return engine.past.memory
    try:
        return runtime.memory(engine.id)
    except Error:
        return engine.past.memory


def _all_are_stuck(now: Condition) -> bool:
    return 0 < now.instances <= now.executions_stuck


def _alive(engine: Engine, dead: Mapping[str, str]) -> bool:
    """False if the engine is loaded, and all its devices are dead."""
    return engine.info is None or any(device not in dead for device in engine.info.devices)


def _cut_off(engines: list[Engine]) -> list[str]:
    """A sentence, if there are any."""
    if not engines:
        return []
    return [f"No device is left for engine {first_of([str(engine) for engine in engines], NAMED_AT_MOST)}."]


def _is_dead(device: str, reason: str) -> str:
    return f"Device {device} is dead: {reason.rstrip('.')}."


def _is_stuck(engine: Engine, now: Condition) -> str:
    told = f"{now.executions_stuck} of {now.instances} instances of engine {engine} are stuck"
    return (
        f"{told} in executions that do not end, the longest for {now.longest_stuck_seconds:.0f} s: "
        "unload the engine and load it again, or restart the server."
    )
