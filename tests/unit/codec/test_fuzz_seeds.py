"""The fuzzer's targets of bodies on their own seeds and some damaged ones, without the fuzzer."""

from hypothesis import given
from hypothesis import strategies as st

from tests.codec_agreement import decoded
from tests.fuzz import alike_json
from tests.fuzz.binary_codec import LENGTH_OF_BLOBS, PRELUDE_BYTES, check, seeds
from trtserve.codec import json_large

SEEDS = list(seeds())
LEAST = json_large.LEAST_BYTES, json_large.LEAST_LIST


def checked(data: bytes) -> None:
    try:
        check(data)
    finally:
        json_large.LEAST_BYTES, json_large.LEAST_LIST = LEAST


def test_seeds_pass_the_fuzz_target() -> None:
    for seed in SEEDS:
        checked(seed)
    whole = [seed for seed in SEEDS if seed[0] == LENGTH_OF_BLOBS]
    assert whole
    for seed in whole:
        body = seed[PRELUDE_BYTES:]
        assert decoded(body, len(body) - int.from_bytes(seed[1:PRELUDE_BYTES], "little")) is not None


@given(st.sampled_from(SEEDS), st.integers(0, 300), st.binary(max_size=4))
def test_damaged_seeds_pass_the_fuzz_target(seed: bytes, at: int, instead: bytes) -> None:
    checked(seed[:at] + instead + seed[at + len(instead) :])


ALIKE = list(alike_json.seeds())


def test_seeds_of_json_pass_the_fuzz_target() -> None:
    pairs = [seed.split(alike_json.SEPARATOR) for seed in ALIKE]
    assert sum(alike_json.check_alike(first, second) for first, second in pairs) >= len(alike_json.FORMS)


@given(st.sampled_from(ALIKE), st.integers(0, 300), st.binary(max_size=4))
def test_damaged_seeds_of_json_pass_the_fuzz_target(seed: bytes, at: int, instead: bytes) -> None:
    alike_json.check(seed[:at] + instead + seed[at + len(instead) :])
