"""The ONNX models that the GPU tests build plans from, each with its cases and its right answers."""

from tests.gpu.models import blocks, datatypes, detections, networks, shapes
from tests.gpu.models.model import Model, Values

__all__ = ["ALL", "Model", "Values", "named"]

ALL = (*datatypes.MODELS, *shapes.MODELS, *detections.MODELS, *networks.MODELS, *blocks.MODELS)


def named(name: str) -> Model:
    return next(model for model in ALL if model.name == name)
