"""The commands that load what was measured with a setting: a plan file, or an engine of a store."""

import shlex

from trtserve.options.batching import AUTO, NEVER
from trtserve.options.engine_options import EngineOptions
from trtserve.tune.target import Asked, Setting, Target

CHOSEN = {
    "instances",
    "max_batch_size",
    "max_queue_delay_us",
    "latency_target_us",
    "preferred_batch_sizes",
}
"""Options that a setting decides, and is told with."""


def changes(target: Target, setting: Setting, asked: Asked) -> list[str]:
    """commands(), or none if a store has the engine with this setting."""
    if target.in_store and setting == _stored(target):
        return []
    return commands(target, setting, asked)


def _stored(target: Target) -> Setting:
    stored = target.stored.options
    if stored.max_batch_size == 1 or stored.max_queue_delay_us == NEVER:
        return Setting(stored.instances, 1, 0)
    # Only a load knows what automatic batches are: no setting is the same.
    most = 0 if stored.max_batch_size == AUTO else stored.max_batch_size
    return Setting(stored.instances, most, stored.max_queue_delay_us)


def commands(target: Target, setting: Setting, asked: Asked) -> list[str]:
    """Commands to paste into a shell. An engine of a store must be removed first, with its plan."""
    if not target.in_store:
        return [_add_command(target, str(target.plan), setting, asked)]
    copy = f"{target.name or target.stored.id}.plan"
    others = sorted(set(target.names) - {target.name})
    note = [f"# its other names go too, so add it again under each: {', '.join(others)}"] if others else []
    return [
        *note,
        shlex.join(["cp", str(target.plan), copy]) + " &&",  # or else nothing is removed
        shlex.join(["trtserve", "engines", "rm", str(target.stored.id)]) + " &&",
        _add_command(target, copy, setting, asked),
    ]


def _add_command(target: Target, plan: str, setting: Setting, asked: Asked) -> str:
    wanted = target.with_setting(setting, asked.latency_target_us, max(asked.concurrency))
    options: dict[str, object] = {}
    if target.name is not None:
        options["name"] = target.name
    if not target.format_told:
        options["format"] = wanted.format
    for option, value in wanted.options:
        # as it was measured, also on a server that was started with other settings
        if option not in CHOSEN and value != EngineOptions.model_fields[option].default:
            options[option] = value
    options |= {"instances": setting.instances, "max_batch_size": setting.max_batch_size}
    if setting.max_batch_size > 1:
        options["max_queue_delay_us"] = setting.max_queue_delay_us
        if setting.max_queue_delay_us == AUTO:
            options["latency_target_us"] = wanted.options.latency_target_us
        if wanted.options.preferred_batch_sizes:
            options["preferred_batch_sizes"] = wanted.options.preferred_batch_sizes
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["trtserve", "engines", "add", plan, *words])
