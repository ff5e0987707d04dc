"""The metadata of the server and of its models."""

from collections.abc import Sequence
from typing import Any

from runtime_ext import TensorSpec
from trtserve.engines.engine import Resolved, State
from trtserve.engines.registry import Registry
from trtserve.formats.backends import backend_of
from trtserve.formats.format import Format
from trtserve.version import VERSION

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "statistics",
)
SHARED_MEMORY = "system_shared_memory"
UNKNOWN_RANK = (-1,)  # the protocol has no word for it; an empty shape would be a scalar


def server_metadata(name: str = "trtserve", *, shared_memory: bool = False) -> dict[str, Any]:
    """What the server calls itself, `name`, and what it has.

    `shared_memory`: whether clients may register any, see Regions.enabled.
    """
    extensions = [*EXTENSIONS, SHARED_MEMORY] if shared_memory else list(EXTENSIONS)
    return {"name": name, "version": VERSION, "extensions": extensions}


def metadata(resolved: Resolved, versions: Sequence[int]) -> dict[str, Any]:
    """Name, versions and tensors of a READY model. Shapes have the batch dimension too; -1 is dynamic."""
    info = resolved.engine.loaded
    return {
        "name": resolved.model_name,
        "versions": [str(version) for version in versions],
        "platform": platform(resolved.engine.format),
        "inputs": [_tensor(spec) for spec in info.inputs],
        "outputs": [_tensor(spec) for spec in info.outputs],
    }


def platform(format: str) -> str:
    """As the protocol has it: what runs the model, and the format that it is in."""
    return backend_of(format).platforms[Format(format)]


def versions(registry: Registry, resolved: Resolved) -> list[int]:
    """The versions of a model that can be asked for now, ascending."""
    found = all_versions(registry, resolved.model_name)
    return [version or 1 for engine, _, version in found if engine.state is State.READY or engine.wakes]


def all_versions(registry: Registry, name: str) -> list[Resolved]:
    """Whatever their states, ascending; an engine called by its ID is the one there is. NotFound."""
    known = registry.names().get(name)
    if known is None:
        return [registry.resolve(name)]
    return [registry.resolve(name, str(version)) for version in sorted(known.versions)]


def shape(spec: TensorSpec) -> list[int]:
    return list(UNKNOWN_RANK if spec.shape is None else spec.shape)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape(spec)}
