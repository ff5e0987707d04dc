"""Heads that differ only in what does not matter share what is known; each is read as httptools reads it."""

from collections.abc import Iterator, Mapping

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

import runtime_ext
from runtime_ext import HeadReader
from tests.connections import Connection, infer, listening, value
from tests.fakes.runtime import FakeRuntime
from tests.fuzz.request_heads import HEAD, LENGTHS, LINES, TARGETS, check, seeds
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.connection import MOST_HEAD_BYTES
from trtserve.http.headers import read_headers
from trtserve.http.short_heads import HEADS, KEPT, NUMBERS, TOKEN, UNUSUAL, KnownHead, KnownHeads
from trtserve.inference.calls import HERE_BYTES

pytestmark = pytest.mark.anyio

LIMIT = 10 * HERE_BYTES  # bytes of a body
SEEDS = list(seeds())


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def heads() -> KnownHeads:
    return KnownHeads(LIMIT, AllowedHosts("", local=True))


def head(*headers: str, target: str = "/engines/net/infer", length: object = 7) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def known(heads: KnownHeads, raw: bytes) -> KnownHead:
    found = heads.look_up(raw)
    assert found is not None, raw
    return found


# -- the reader agrees with httptools


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_is_read_as_httptools_reads_it_or_not_at_all(seed: bytes) -> None:
    check(seed)


def test_the_seeds_are_of_both_kinds() -> None:
    read = [HEAD.match(seed) is not None for seed in SEEDS]
    assert min(read.count(True), read.count(False)) > 50


@given(st.sampled_from(SEEDS), st.integers(0, 300), st.integers(0, 4), st.binary(max_size=4))
def test_a_damaged_head_is_read_as_httptools_reads_it_or_not_at_all(
    seed: bytes, at: int, gone: int, instead: bytes
) -> None:
    check(seed[:at] + instead + seed[at + gone :])


@given(
    st.lists(
        st.sampled_from([f"{name}:".encode() for name in (*KEPT, *NUMBERS, *UNUSUAL, TOKEN)])
        | st.sampled_from(LINES)
    ),
    st.sampled_from([b"/engines/net/infer", *TARGETS]),
    st.sampled_from(LENGTHS),
)
def test_any_headers_together_are_read_as_httptools_reads_them_or_not_at_all(
    lines: list[bytes], target: bytes, length: bytes
) -> None:
    check(b"\r\n".join([b"POST %b HTTP/1.1" % target, *lines, b"Content-Length:" + length, b"", b""]))


@given(st.text("abcXYZ-_.:%09 \t\x7f\x00\xff\r\n", max_size=8), st.integers(0, 2))
def test_any_byte_in_any_place_is_read_as_httptools_reads_it_or_not_at_all(text: str, place: int) -> None:
    target, name, content = (text if place == number else "a" for number in range(3))
    check(head(f"{name}: {content}", target=f"/engines/{target}/infer"))


@pytest.mark.parametrize("byte", range(256))
def test_each_byte_is_allowed_where_the_grammar_has_it(byte: int) -> None:
    text = chr(byte)
    check(head(f"X{text}: a"))
    check(head(f"X: a{text}"))
    check(head(f"{text}X: a"))
    check(head(target=f"/engines/a{text}/infer"))
    check(head(f"X: a\r{text}Y: b"))
    check(head("X: a")[:-1] + bytes([byte]))


def test_an_incomplete_head_is_not_read(heads: KnownHeads) -> None:
    whole = head("Inference-Timeout-Ms: 9", "X: a")
    for end in range(len(whole)):
        assert heads.look_up(whole[:end]) is None
    assert known(heads, whole + b"more").end == len(whole)


def test_a_head_that_uvicorn_would_refuse_for_its_length_is_not_read(heads: KnownHeads) -> None:
    def of_length(bytes_: int) -> bytes:
        return head("X: " + "a" * (bytes_ - len(head("X: "))))

    assert known(heads, of_length(MOST_HEAD_BYTES)).end == MOST_HEAD_BYTES
    assert heads.look_up(of_length(MOST_HEAD_BYTES + 1)) is None


@pytest.mark.parametrize("name", ["", "Host", "a b", "a:", "é", "a" * 64, "host"])
def test_a_name_that_no_header_has_is_refused_when_a_reader_is_made(name: str) -> None:
    with pytest.raises(runtime_ext.Error, match="not the name of a header"):
        HeadReader(["host", name], NUMBERS, UNUSUAL)


def test_a_told_value_that_only_declines_is_told_apart_from_one_that_asks() -> None:
    reader = HeadReader(
        ["host"], NUMBERS, UNUSUAL, "", ["id", "parent", "state"], {"parent": "-00", "state": ""}
    )

    def told(*lines: str) -> object:
        read = reader.read(head(*lines))
        assert read is not None
        return read[-1]

    assert told() is None
    assert told("State: a") is None
    assert told("Parent: a-00", "State: a") is False
    assert told("Parent: a-00 ") is False
    assert told("Parent: a-01", "State: s") == (None, b"a-01", b"s", None)
    assert told("Parent: a-00", "ID: i") == (b"i", b"a-00", None, None)
    assert told("ID: -00") == (b"-00", None, None, None)
    assert reader.read(head("Parent: a-00", "Parent: b-00")) is None
    with pytest.raises(runtime_ext.Error, match='"host" is not the name of a header that is told'):
        HeadReader(["host"], NUMBERS, UNUSUAL, "", ["id"], {"host": ""})


# -- what matters in a head


class Watched(Mapping[str, str]):
    """The headers of a request, which remembers the names that were asked for."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name.lower())
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all headers matter to it")

    def __len__(self) -> int:
        return len(self._headers)


def test_every_header_that_decides_on_a_body_is_kept_or_is_a_number() -> None:
    watched = Watched({"content-type": "application/json", "content-encoding": "identity"})
    read_headers(watched)
    assert watched.asked == {*KEPT, *NUMBERS} - {
        "content-length",  # read by the short way itself
        *("connection", "proxy-connection"),  # by httptools
        *("host", "origin", "sec-fetch-site"),  # by AllowedHosts
    }


@pytest.mark.parametrize(
    "varied",
    [
        lambda number: [f"traceparent: 00-{number:032x}-{number:016x}-01", f"X-Request-Id: {number}"],
        lambda number: [f"Authorization: Bearer {'a' * number}", f"X-Forwarded-For: 10.0.0.{number}"],
        lambda number: [f"X-{number}: a" for number in range(number)],
        lambda number: [f"Cookie: {'b' * 100 * number}"],
        lambda number: [f"Inference-Header-Content-Length: {number}"],
        lambda number: [f"Inference-Timeout-Ms: {number}"],
    ],
)
def test_requests_share_what_is_known_of_their_heads(heads: KnownHeads, varied: object) -> None:
    lines = [varied(number) for number in range(300)]  # type: ignore[operator]
    first = known(heads, head(*lines[0])).head
    for number, own in enumerate(lines):
        found = known(heads, head(*own, length=number + 300))
        assert found.head is first
        assert found.length == number + 300
    if "Inference-Timeout-Ms: 9" in lines[9]:
        assert known(heads, head(*lines[9])).timeout_ns == 9_000_000
    if "Inference-Header-Content-Length: 9" in lines[9]:
        assert known(heads, head(*lines[9])).header_length == 9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Content-Type: application/json", "Content-Type: application/x-safetensors"),
        ("Accept: application/json", "Accept: application/x-safetensors"),
        ("Accept-Encoding: gzip", "Accept-Encoding: identity"),
        ("Inference-Header-Content-Length: 0", "X: a"),
    ],
)
def test_requests_that_want_other_forms_share_nothing(heads: KnownHeads, one: str, other: str) -> None:
    forms = [known(heads, head(line)).head.form for line in (one, other, one, other)]
    assert forms[0] != forms[1]
    assert forms[:2] == forms[2:]


def test_a_head_that_must_take_the_long_way_does_so_after_any_other(heads: KnownHeads) -> None:
    for refused in ("Connection: close", "Origin: http://a.example", "Content-Encoding: gzip", "Expect: a"):
        assert known(heads, head()).length == 7
        assert heads.look_up(head(refused)) is None
    assert heads.look_up(head().replace(b"localhost", b"a.example")) is None
    assert heads.look_up(head().replace(b"Host", b"Host: localhost\r\nHost")) is None


@pytest.mark.parametrize("headers", [(), ("Inference-Header-Content-Length: 5",)])
def test_each_length_is_compared_with_the_limit(heads: KnownHeads, headers: tuple[str, ...]) -> None:
    json = not headers
    most = HERE_BYTES if json else LIMIT
    assert known(heads, head(*headers, length=most)).length == most
    assert heads.look_up(head(*headers, length=most + 1)) is None
    assert known(heads, head(*headers)).length == 7


def test_a_long_json_of_a_binary_body_takes_the_long_way(heads: KnownHeads) -> None:
    for length, short in ((HERE_BYTES, True), (HERE_BYTES + 1, False), (1, True)):
        raw = head(f"Inference-Header-Content-Length: {length}", length=LIMIT)
        assert (heads.look_up(raw) is not None) == short


def test_a_long_body_without_json_is_ordinary(heads: KnownHeads) -> None:
    assert known(heads, head("Content-Type: application/x-safetensors", length=LIMIT)).length == LIMIT


# -- a full cache


def test_a_full_cache_forgets_the_head_that_has_not_come_for_longest(heads: KnownHeads) -> None:
    def of(number: int) -> object:
        return known(heads, head(target=f"/engines/{number}/infer")).head

    used, left = of(0), of(1)
    for number in range(2, HEADS):
        of(number)
    assert (of(1), of(0)) == (left, used)
    for number in range(HEADS, 2 * HEADS - 1):  # one too few to push out what came last
        of(number)
    assert of(0) is used
    assert of(1) is not left


def test_heads_that_take_the_long_way_push_nothing_out(heads: KnownHeads) -> None:
    first = known(heads, head()).head
    for number in range(HEADS + 1):
        assert heads.look_up(head(target=f"/engines/{number}/other")) is None
        assert heads.look_up(head("Connection: close", target=f"/engines/{number}/infer")) is None
    assert known(heads, head()).head is first


# -- on a connection


async def test_varied_heads_get_their_own_answers(served: FastAPI, runtime: FakeRuntime) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for number in range(40):
            lines = (f"traceparent: {number}", f"Inference-Timeout-Ms: {number + 1}")
            assert value(await connection.ask(infer(number, number + 1, *lines, note="a" * number))) == number
        assert runtime.timeouts == [(number + 1) * 1_000_000 for number in range(40)]
        heads = server.short_way.heads
        assert len({id(known(heads, infer(1, 1, f"X: {number}")).head) for number in range(9)}) == 1
