"""Translates a load's `config`, a Triton ModelConfig, into options and plan formats.

Whatever it asks for is done, or refused with a sentence; only what cannot change an answer is ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from trtserve.errors import InvalidInput, TooLarge, Unsupported
from trtserve.formats.backends import BACKENDS
from trtserve.formats.format import Format
from trtserve.formats.sniff import TO_BUILD
from trtserve.oip.triton_config import DynamicBatching, InstanceGroup, ModelConfig, WarmUp
from trtserve.options.batching import NEVER
from trtserve.options.engine_options import EngineOptions, UploadOptions
from trtserve.text import shown

MOST_CHARACTERS = 65_536  # of a config: it is read on the event loop, up to 50 ms whatever it is

FORMATS: dict[str, frozenset[Format]] = {
    word: formats for backend in BACKENDS.values() for word, formats in backend.words.items()
}
"""What plans a `backend` or a `platform` stands for: Triton's words, and those that GET …/config says."""

FACTS = {"engine_id", "digest", "format"}  # parameters that GET …/config says, and that ask for nothing
OPTIONS = EngineOptions.model_fields.keys()  # parameters that are options
PRIORITIES = {0, 3}  # levels: not said, or those that there are
DEFAULT_PRIORITY = {0, 2}

NOT_SERVED = {
    "ensemble_scheduling": "a model is one engine; call one after the other",
    "sequence_batching": "an engine keeps nothing from one request to the next",
    "decoupled transactions": "every request has one answer",
    "response_cache": "every request is run",
    "model_operations": "plugins are named at its start, --tensorrt-plugins (TRTSERVE_TENSORRT_PLUGINS)",
    "model_repository_agents": "a plan is loaded unchanged",
    "execution_accelerators": "a plan is run by the backend of its format",
    "batch_input": "an engine gets what requests have, joined and nothing more",
    "batch_output": "an output is divided along its batch dimension",
    "reshape": "a tensor has the shape that the plan gives it",
    "allow_ragged_batch": "requests are joined where their shapes are the same",
    "priority_levels": "there are 3, and 2 is the default",
    "priority_queue_policy": "all priorities share one queue",
    "default_timeout_microseconds": "a request sets it; otherwise --request-timeout-s applies",
    "secondary_devices": "an instance is on one device",
    "passive instances": "every instance takes requests",
}
"""What would change answers, and why it is not there."""

WHERE = {
    "instances": "instance_group.count",
    "device": "instance_group.gpus",
    "max_queue_size": "dynamic_batching.default_queue_policy.max_queue_size",
    "max_queue_delay_us": "dynamic_batching.max_queue_delay_microseconds",
    "preferred_batch_sizes": "dynamic_batching.preferred_batch_size",
    "cuda_graphs": "optimization.cuda.graphs",
    "warm_up": "model_warmup",
}
"""Where a config says an option, if not under its own name."""


@dataclass(frozen=True)
class LoadConfig:
    options: EngineOptions
    formats: frozenset[Format]  # all, where it names none
    said: str  # how it names them
    unjoined: int = 0  # its max_batch_size where requests are not to be joined; 0: it says none

    @property
    def asked(self) -> EngineOptions:
        """The options, and a max_batch_size that is only told where requests are not joined."""
        if not self.unjoined:
            return self.options
        unjoined = EngineOptions(max_batch_size=self.unjoined, max_queue_delay_us=NEVER)
        return EngineOptions(**self.options.asked() | unjoined.asked())

    @property
    def format(self) -> str:
        """What to ask for of a plan."""
        return next(iter(self.formats)) if len(self.formats) == 1 else "auto"

    def check_format(self, format: str) -> None:
        if format not in self.formats:
            raise InvalidInput(
                f"The config's {self.said} stands for plans of the format "
                f"{' or '.join(sorted(self.formats))}, but this one is of the format {format}."
                + (TO_BUILD if format == Format.ONNX and Format.TENSORRT in self.formats else "")
            )


def read_config(text: object, name: str) -> LoadConfig:
    """The config of a load of the model `name`; `text` may also be a view on base64 characters.

    Raises InvalidInput, Unsupported for a feature that this server lacks, and TooLarge, because the event
    loop reads it.
    """
    if isinstance(text, (str, memoryview)) and len(text) > MOST_CHARACTERS:
        raise TooLarge(
            f"The parameter 'config' has {len(text)} characters; this server reads at most {MOST_CHARACTERS}."
        )
    if isinstance(text, memoryview):
        text = str(text, "ascii")
    if not isinstance(text, str):
        raise InvalidInput(
            f"The parameter 'config' is {shown(text)}; it must be a string that contains the config's JSON."
        )
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as failure:
        raise InvalidInput(f"The parameter 'config' is not valid JSON: {failure}.") from None
    if not isinstance(given, dict):
        raise InvalidInput(f"The parameter 'config' holds {shown(given)}; it must hold a JSON object.")
    config = checked(given, name)
    for refusal in not_served(config):
        raise Unsupported(refusal)
    for parameter in unknown_parameters(config):
        raise Unsupported(
            f"The config has a parameter {parameter!r}, which this server does not support; there are "
            f"{', '.join(sorted(OPTIONS))}."
        )
    return understood(config)


def checked(given: Mapping[str, object], name: str) -> ModelConfig:
    """The config of the model `name` as a message. Raises InvalidInput if it is none, or another model's."""
    try:
        config = ModelConfig.model_validate(given)
    except ValidationError as failure:
        raise _wrong(failure) from None
    if config.name not in {"", name}:
        raise InvalidInput(f"The config is for {config.name!r}, but the load is for {name!r}.")
    return config


def unknown_parameters(config: ModelConfig) -> list[str]:
    """The parameters that are neither options nor facts."""
    return sorted(config.parameters.keys() - FACTS - OPTIONS)


def understood(config: ModelConfig) -> LoadConfig:
    """The options and formats that a config asks for. What not_served() and unknown_parameters() find in it
    is ignored. Raises InvalidInput, and Unsupported for a backend or instances that no engine has."""
    formats, said = _formats(config)
    options = _options(config)
    joined = config.dynamic_batching is not None and config.max_batch_size > 1
    by_name = options.max_batch_size != 1 or "max_queue_delay_us" in config.parameters
    return LoadConfig(options, formats, said, 0 if joined or by_name else config.max_batch_size)


def not_served(config: ModelConfig) -> list[str]:
    """A sentence for each feature that a config asks for, would change answers, and is not supported."""
    batching = config.dynamic_batching or DynamicBatching()
    queue = batching.default_queue_policy
    levels, level = batching.priority_levels, batching.default_priority_level
    tensors = (*config.input, *config.output)
    asked: dict[str, object] = {
        "ensemble_scheduling": config.ensemble_scheduling is not None,
        "sequence_batching": config.sequence_batching is not None,
        "decoupled transactions": config.model_transaction_policy.decoupled,
        "response_cache": config.response_cache.enable,
        "model_operations": config.model_operations,
        "model_repository_agents": config.model_repository_agents,
        "execution_accelerators": config.optimization.execution_accelerators,
        "batch_input": config.batch_input,
        "batch_output": config.batch_output,
        "reshape": any(tensor.reshape is not None for tensor in tensors),
        "allow_ragged_batch": any(tensor.allow_ragged_batch for tensor in tensors),
        "priority_levels": levels not in PRIORITIES or level not in DEFAULT_PRIORITY,
        "priority_queue_policy": batching.priority_queue_policy,
        "default_timeout_microseconds": queue.default_timeout_microseconds,
        "secondary_devices": any(group.secondary_devices for group in config.instance_group),
        "passive instances": any(group.passive for group in config.instance_group),
    }
    return [
        f"The config asks for {field}, which this server does not support: {NOT_SERVED[field]}."
        for field, there in asked.items()
        if there
    ]


def _formats(config: ModelConfig) -> tuple[frozenset[Format], str]:
    formats, said = frozenset(Format), ""
    for field in ("backend", "platform"):
        value = getattr(config, field)
        if not value:
            continue
        if value not in FORMATS:
            raise Unsupported(
                f"This server does not support the config's {field} {value!r}; it supports "
                f"{', '.join(FORMATS)}."
            )
        if not formats & FORMATS[value]:
            raise InvalidInput(
                f"The config's backend {config.backend!r} and platform {value!r} do not agree."
            )
        formats &= FORMATS[value]
        said = f"{field} {value!r}"
    return formats, said


def _options(config: ModelConfig) -> EngineOptions:
    said = _said(config)
    for option, parameter in config.parameters.items():
        if option not in OPTIONS:
            continue
        value = parameter.string_value
        # A config has no word for "auto": where the parameter has it, the field says the nearest.
        if option in said and value not in {str(said[option]), "auto"}:
            raise InvalidInput(
                f"The config's {WHERE.get(option, option)} is {said[option]!r}, but its parameter {option!r} "
                f"is {value!r}: leave one of them out."
            )
        said[option] = value
    if "max_batch_size" not in said:  # without dynamic_batching requests are not joined
        said |= {"max_batch_size": 1, "preferred_batch_sizes": ""}
    try:
        asked = UploadOptions.model_validate(said)
    except ValidationError as failure:
        raise _wrong(failure) from None
    return asked.options()


def _said(config: ModelConfig) -> dict[str, object]:
    """The options that a config's own fields set."""
    said: dict[str, object] = {}
    batching = config.dynamic_batching
    if batching is not None:
        said["max_batch_size"] = max(1, config.max_batch_size)
        said["preferred_batch_sizes"] = ",".join(map(str, sorted(batching.preferred_batch_size)))
        if batching.max_queue_delay_microseconds is not None:
            said["max_queue_delay_us"] = batching.max_queue_delay_microseconds
        if batching.default_queue_policy.max_queue_size:
            said["max_queue_size"] = batching.default_queue_policy.max_queue_size
    if config.optimization.cuda.graphs is not None:
        said["cuda_graphs"] = "on" if config.optimization.cuda.graphs else "off"
    if config.instance_group:
        said |= _instances(config.instance_group)
    if any(sample.inputs for sample in config.model_warmup):
        said["warm_up"] = ";".join(_warm_up(sample) for sample in config.model_warmup if sample.inputs)
    return said


def _warm_up(sample: WarmUp) -> str:
    """The inputs of one execution as the option has them; a batch comes in front of the dimensions."""
    batch = [sample.batch_size] if sample.batch_size else []
    return ",".join(
        f"{name}:{'x'.join(map(str, [*batch, *input.dims]))}" for name, input in sample.inputs.items()
    )


def _instances(groups: list[InstanceGroup]) -> dict[str, object]:
    """A group has `count` instances on each of its devices; an engine has as many on each of its own."""
    counts: dict[str, int] = {}  # of instances, by device; 0: not said
    for group in groups:
        for device in _devices(group):
            counts[device] = counts.get(device, 0) + group.count
    if len(counts) > 1 and not all(device.startswith("cuda:") for device in counts):
        raise Unsupported(
            "The config's instance_group names several kinds of devices; an engine is on the CPU or on GPUs: "
            "upload it under another name for the other."
        )
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} on {device}" for device, count in counts.items())
        raise Unsupported(
            f"The config's instance_group has {told}; an engine has as many instances on each of its devices."
        )
    device = ",".join(counts)
    said: dict[str, object] = {"device": device} if device else {}
    if all(group.count for group in groups):
        said["instances"] = next(iter(counts.values()))
    return said


def _devices(group: InstanceGroup) -> list[str]:
    """One that is empty: whichever."""
    if group.kind == "KIND_CPU":
        return ["cpu"]
    if group.gpus:
        return [f"cuda:{gpu}" for gpu in dict.fromkeys(group.gpus)]
    return ["cuda" if group.kind == "KIND_GPU" else ""]


def _wrong(failure: ValidationError) -> InvalidInput:
    """The first fault, in words."""
    fault = failure.errors(include_url=False)[0]
    first = str(fault["loc"][0])
    where = ".".join([WHERE.get(first, first), *map(str, fault["loc"][1:])])
    if fault["type"] == "extra_forbidden":
        return InvalidInput(f"The config has a field {where!r}, which Triton's ModelConfig does not have.")
    return InvalidInput(f"The config's {where} is {shown(fault['input'])}: {fault['msg']}.")
