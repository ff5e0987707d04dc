"""The records of datatypes agree with the runtime, which alone decides what engines have."""

import pytest
import torch

import runtime_ext
from trtserve.codec.datatypes import DATATYPES, Datatype


def test_they_are_those_of_engines_in_the_same_order() -> None:
    assert list(DATATYPES) == list(runtime_ext.DATATYPES)


@pytest.mark.parametrize("datatype", DATATYPES.values(), ids=DATATYPES)
def test_an_element_has_as_many_bytes_for_everybody(datatype: Datatype) -> None:
    assert datatype.size == runtime_ext.DATATYPES[datatype.name] == datatype.numpy.itemsize


@pytest.mark.parametrize("name", ["FP16", "BF16", "FP32", "FP64"])
def test_the_greatest_float_is_torchs(name: str) -> None:
    dtype = {"FP16": torch.float16, "BF16": torch.bfloat16, "FP32": torch.float32, "FP64": torch.float64}
    assert DATATYPES[name].greatest == torch.finfo(dtype[name]).max
