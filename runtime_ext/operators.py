"""The operators in Python: the fake kernel for tracing, and an engine's wrapper as a module."""

import torch
from torch.jit._recursive import wrap_cpp_module

from runtime_ext import _C

DTYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}


@torch.library.register_fake("trt::execute_engine_list")  # type: ignore[untyped-decorator]
def _fake_execute_engine_list(id: int, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return outputs without data, for tracing: a dimension that the engine decides at run time is a new
    symbol.

    Like the operator's own, they are on the device of the first input that the engine reads on its own
    device; without such an input, where the engine runs now. Inputs that it refuses for their number or
    datatype are refused here too.
    """
    engine = _C.engine_info(id)
    _check(engine, inputs)
    read_there = (
        given.device for spec, given in zip(engine.inputs, inputs, strict=True) if spec.location == "device"
    )
    device = next(read_there, None) or torch.device(_C.default_device(id))

    def empty(spec: _C.TensorSpec) -> torch.Tensor:
        if spec.shape is None:
            raise NotImplementedError(
                f"output {spec.name!r} of engine {id} has no fixed rank: it cannot be traced"
            )
        shape = [dim if dim >= 0 else torch.library.get_ctx().new_dynamic_size() for dim in spec.shape]
        return torch.empty(shape, dtype=DTYPES[spec.datatype], device=device)

    return [empty(spec) for spec in engine.outputs]


def _check(engine: _C.EngineInfo, inputs: list[torch.Tensor]) -> None:
    if len(inputs) != len(engine.inputs):
        raise ValueError(f"engine {engine.id} takes {len(engine.inputs)} inputs; {len(inputs)} came")
    for spec, given in zip(engine.inputs, inputs, strict=True):
        if given.dtype != DTYPES[spec.datatype]:
            raise ValueError(
                f"input {spec.name!r} of engine {engine.id} is {given.dtype}; "
                f"the engine takes {spec.datatype}"
            )


def module(runtime: _C.Runtime, id: int) -> torch.jit.ScriptModule:
    """Return an engine's wrapper: call it with the engine's inputs, in their order.

    Inputs may be on any device; outputs are on the device of the first input that the engine reads on its own
    device; without such an input, on the engine's device. One output comes as a tensor, several as a tuple.
    Raises RuntimeError with a sentence that names the tensor at fault.
    """
    wrapped: torch.jit.ScriptModule = wrap_cpp_module(runtime.script_module(id))  # type: ignore[no-untyped-call]
    return wrapped
