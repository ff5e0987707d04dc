"""Inputs that are made up from what an engine says of them."""

import pytest

from trtserve.client.random_inputs import random_inputs
from trtserve.errors import InvalidInput

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3, -1], "profiles": []}
RANGE = {"min": [2, 3, 8], "opt": [4, 3, 16], "max": [8, 3, 32]}


def test_a_dimension_that_may_vary_is_one_or_what_the_first_profile_says() -> None:
    assert random_inputs([X])["x"].shape == (1, 3, 1)
    assert random_inputs([X | {"profiles": [RANGE, RANGE]}])["x"].shape == (2, 3, 16)
    assert random_inputs([X | {"profiles": [RANGE]}], {"x": 2})["x"].shape == (4, 3, 8)
    free = RANGE | {"min": [0, 3, 0]}
    assert random_inputs([X | {"profiles": [free]}])["x"].shape == (1, 3, 16)


def test_shapes_can_be_given_of_inputs_that_there_are() -> None:
    unranked = X | {"shape": None}
    assert random_inputs([unranked], shapes={"x": [2, 5]})["x"].shape == (2, 5)
    with pytest.raises(InvalidInput, match="any rank: give it with --input or --shape"):
        random_inputs([unranked])
    with pytest.raises(InvalidInput, match="no input 'z'; its inputs are x"):
        random_inputs([X], shapes={"z": [1]})
