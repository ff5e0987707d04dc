"""The outputs of a call, with classes in place of those whose classes it asks for."""

from runtime_ext import Output
from trtserve import codec
from trtserve.codec import classes
from trtserve.inference.call import Call
from trtserve.workers import CODINGS


def take_long(call: Call, outputs: list[Output]) -> bool:
    """True if a thread should make the answer's classes, or its JSON."""
    return _found_long(call, outputs) or bool(codec.long_to_write(call.request, outputs, call.selected))


def with_classes(call: Call, outputs: list[Output]) -> list[Output]:
    """All outputs of the engine in their order, as the answer has those that it has."""
    if not call.request.classified:
        return outputs
    engine = call.resolved.engine
    return classes.classified(call.request, outputs, call.selected, engine.labels, batched=engine.has_batch)


def _found_long(call: Call, outputs: list[Output]) -> bool:
    if not call.request.classified:
        return False
    return classes.take_long(call.request, outputs, call.selected, batched=call.resolved.engine.has_batch)


async def with_classes_anywhere(call: Call, outputs: list[Output]) -> list[Output]:
    """Likewise, in a thread if it takes long."""
    if _found_long(call, outputs):
        return await CODINGS.run(with_classes, call, outputs)
    return with_classes(call, outputs)
