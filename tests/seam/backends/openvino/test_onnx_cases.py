"""Runs a few of ONNX's conformance cases: one or two for each kind of node that OpenVINO folds away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.onnx_suite.cases import Case, load
from tests.onnx_suite.sides import Trtserve

NAMES = (
    "test_add_uint16",
    "test_add_uint32",
    "test_add_uint64",
    "test_cast_DOUBLE_to_FLOAT16",
    "test_concat_1d_axis_0",
    "test_dropout_default",
    "test_dropout_default_mask",
    "test_dropout_default_old",
    "test_dropout_random_old",
    "test_expand_dim_changed",
    "test_flatten_axis0",
    "test_flatten_default_axis",
    "test_flatten_negative_axis1",
    "test_identity",
    "test_max_one_input",
    "test_mean_one_input",
    "test_min_one_input",
    "test_reduce_l1_negative_axes_keep_dims_example",
    "test_reduce_log_sum_exp_do_not_keepdims_example",
    "test_reshape_allowzero_reordered",
    "test_reshape_extended_dims",
    "test_reshape_reduced_dims",
    "test_reshape_zero_dim",
    "test_squeeze",
    "test_sum_one_input",
    "test_tile_precomputed",
    "test_transpose_all_permutations_0",
)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return load()


@pytest.fixture
def trtserve(tmp_path: Path) -> Iterator[Trtserve]:
    side = Trtserve(tmp_path)
    yield side
    side.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_conformance_case_is_right(cases: dict[str, Case], trtserve: Trtserve, name: str) -> None:
    assert trtserve.run(cases[name]) == ("right", "")
