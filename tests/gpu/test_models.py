"""Tests of the models themselves, without a GPU: ONNX's own evaluator gives the answers that they expect."""

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from tests.gpu.models import ALL, Model

# The evaluator does not know every operator of the models' own opset; in this one they mean what they did.
EVALUATED_OPSET = 19
NOT_EVALUATED = {"double_bfloat16", "plugin"}  # numpy has no bfloat16, ONNX no plugins
EVALUATED = [model for model in ALL if model.name not in NOT_EVALUATED]


@pytest.mark.parametrize("model", EVALUATED, ids=lambda model: model.name)
def test_onnx_gives_the_expected_answers(model: Model) -> None:
    newer = onnx.ModelProto()
    newer.CopyFrom(model.onnx)
    newer.opset_import[0].version = EVALUATED_OPSET
    evaluator = ReferenceEvaluator(newer)
    for case in model.cases:
        answer = evaluator.run(None, {name: x.numpy() for name, x in case.items()})
        outputs = zip(evaluator.output_names, answer, strict=True)
        model.agrees({name: torch.tensor(output) for name, output in outputs}, case)


def test_models_differ_in_their_names() -> None:
    assert len({model.name for model in ALL}) == len(ALL)


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_every_case_is_within_a_profile(model: Model) -> None:
    for case in model.cases:
        fitting = [
            profile
            for profile in model.profiles
            if all(within(case[name], least, most) for name, (least, _, most) in profile.items())
        ]
        assert fitting, {name: list(x.shape) for name, x in case.items()}


def within(x: torch.Tensor, least: tuple[int, ...], most: tuple[int, ...]) -> bool:
    """True if the shape, or the values if there are as many as numbers, are between the two."""
    sizes = list(x.shape) if len(x.shape) == len(least) else x.reshape(-1).tolist()
    return all(low <= size <= high for low, size, high in zip(least, sizes, most, strict=True))
