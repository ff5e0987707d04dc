"""An example of a request that an engine takes, for a client that sent something else."""

import json
import math
from collections.abc import Sequence

from runtime_ext import TensorSpec

SHOWN_VALUES = 16  # the data of a longer tensor is cut
SHOWN_INPUTS = 4


def example(specs: Sequence[TensorSpec]) -> str:
    """A sentence with the JSON of a request for these inputs, of the least size that they take."""
    shown = ", ".join(_input(spec) for spec in specs[:SHOWN_INPUTS])
    more = len(specs) - SHOWN_INPUTS
    return 'For this engine send {"inputs": [' + shown + (f", … {more} more" if more > 0 else "") + "]}."


def _input(spec: TensorSpec) -> str:
    shape = _shape(spec)
    count = math.prod(shape)
    zero = {"BOOL": "false", "BYTES": '""'}.get(spec.datatype, "0")
    data = ", ".join([zero] * count) if count <= SHOWN_VALUES else f"{zero}, {zero}, … {count} values"
    name, datatype = json.dumps(spec.name), json.dumps(spec.datatype)
    return f'{{"name": {name}, "shape": {shape}, "datatype": {datatype}, "data": [{data}]}}'


def _shape(spec: TensorSpec) -> list[int]:
    """The least shape of the first profile; without one, 1 for each dimension that varies."""
    if spec.profiles:
        return list(spec.profiles[0].min)
    return [1] if spec.shape is None else [1 if dim < 0 else dim for dim in spec.shape]
