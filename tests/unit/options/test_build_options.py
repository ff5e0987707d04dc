"""The options of a build: profiles as text, and what of them an engine's ID depends on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtserve.errors import InvalidInput
from trtserve.options.build_options import (
    EXAMPLE,
    MOST_PROFILES,
    BuildOptions,
    build_options,
    canonical_profile,
    read_profile,
)


def options(*profiles: str, **others: Any) -> BuildOptions:
    told: dict[str, Any] = {
        "precision": "auto",
        "max_batch_size": 1,
        "workspace_bytes": 0,
        "timing_cache": True,
    }
    return build_options(profiles, **told | others)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        (EXAMPLE, {"x": ([1, 3, 224, 224], [8, 3, 224, 224], [32, 3, 224, 224])}),
        ("x:1/2/3,y:4x5/4x5/4x6", {"x": ([1], [2], [3]), "y": ([4, 5], [4, 5], [4, 6])}),
        ("a:b:1/2/3", {"a:b": ([1], [2], [3])}),
        ("a,b:1/2/3", {"a,b": ([1], [2], [3])}),
        ("x:1/1/1:2/2/2", {"x:1/1/1": ([2], [2], [2])}),
        ("serving_default_x:0:1x2/1x2/4x2", {"serving_default_x:0": ([1, 2], [1, 2], [4, 2])}),
        ("sizes:-1x12/1x12/8x12", {"sizes": ([-1, 12], [1, 12], [8, 12])}),
    ],
)
def test_a_profile_is_read_by_the_last_colon_before_its_shapes(text: str, ranges: object) -> None:
    assert read_profile(text) == ranges


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an input's name"),
        ("x", "not an input's name"),
        ("x:", "not an input's name"),
        (":1/2/3", "not an input's name"),
        ("x:1x3", "not an input's name"),
        ("x:1/2", "not an input's name"),
        ("x:1/2/3/4", "not an input's name"),
        ("x:1x/2/3", "not an input's name"),
        ("x:1,3/2,3/3,3", "not an input's name"),
        ("x:1/2/٣", "not an input's name"),
        ("x:1/2/3,", "ends with a comma"),
        ("x:1/2/3,y", "not an input's name"),
        ("x:1/2/3,x:1/2/3", "input 'x' twice"),
        ("x:1/2x2/3x3", "different numbers of dimensions"),
        ("x:3/2/1", "not the least, the best and the greatest"),
        ("x:" + "9" * 19 + "/1/1", "not an input's name"),
        ("x\0y:1/2/3", "no name has a NUL"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_fault_and_an_example(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        read_profile(text)
    assert f"profile={EXAMPLE}" in str(refused.value)


def test_a_profile_that_almost_fits_many_times_is_refused_promptly() -> None:
    with pytest.raises(InvalidInput):
        read_profile(":1x1/1x1/1x" * 20_000)


dims = st.lists(st.integers(0, 99), min_size=1, max_size=3)


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z:_]{0,6}", fullmatch=True), dims, min_size=1, max_size=4))
def test_a_canonical_profile_reads_as_what_was_given(shapes: dict[str, list[int]]) -> None:
    text = ",".join(f"{name}:{'/'.join(['x'.join(map(str, dims))] * 3)}" for name, dims in shapes.items())
    canonical = canonical_profile(text)
    assert read_profile(canonical) == {name: (dims, dims, dims) for name, dims in shapes.items()}
    assert canonical_profile(canonical) == canonical


def test_equal_profiles_are_one_identity_however_they_are_written() -> None:
    assert options("y:01/2/3,x:1/1/1").identity() == options("x:1/1/1,y:1/2/3").identity()
    assert options("x:1/1/1").identity() != options("x:1/1/2").identity()
    assert options("x:1/1/1", "x:2/2/2").identity() != options("x:2/2/2", "x:1/1/1").identity()


@pytest.mark.parametrize(
    ("others", "same"),
    [
        ({"precision": "f16"}, False),
        ({"workspace_bytes": 1}, False),
        ({"max_batch_size": 8}, False),
        ({"timing_cache": False}, True),
    ],
)
def test_an_identity_depends_on_what_changes_the_plan(others: dict[str, Any], same: bool) -> None:
    assert (options(**others).identity() == options().identity()) is same


def test_the_batch_size_does_not_matter_beside_profiles() -> None:
    assert options("x:1/2/3", max_batch_size=8).identity() == options("x:1/2/3").identity()


def test_too_many_profiles_are_refused() -> None:
    with pytest.raises(InvalidInput, match=f"{MOST_PROFILES} at most"):
        options(*["x:1/2/3"] * (MOST_PROFILES + 1))


def test_the_runtime_gets_every_option_with_the_profiles_as_numbers() -> None:
    asked = options("x:1x4/2x4/8x4", precision="f16", workspace_bytes=7)
    assert asked.for_runtime("cuda:1", "/t.cache") == {
        "device": "cuda:1",
        "precision": "f16",
        "profiles": [{"x": ([1, 4], [2, 4], [8, 4])}],
        "max_batch_size": 1,
        "workspace_bytes": 7,
        "timing_cache": "/t.cache",
    }
    assert options(timing_cache=False).for_runtime("auto", "/t.cache")["timing_cache"] == ""
    json.dumps(asked.for_runtime("auto", ""))
