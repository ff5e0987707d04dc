"""Content codings: the headers that choose one, and broken streams."""

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from trtserve.errors import InvalidInput, TrtserveError, UnsupportedMedia
from trtserve.http.content_coding import Decompressor, answer_coding, body_coding, compress

COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}
DECOMPRESS = {"gzip": gzip.decompress, "deflate": zlib.decompress}
CODINGS = sorted(COMPRESS)


def decompressed(coding: str, *pieces: bytes, most: int = 1_000_000) -> bytes:
    stream = Decompressor(coding)
    taken = []
    for piece in pieces:
        stream.feed(piece)
        while part := stream.take(most):
            assert len(part) <= most
            taken.append(part)
    stream.finish()
    return b"".join(taken)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        ("identity", None),
        ("Identity", None),
        ("gzip", "gzip"),
        (" GZIP ", "gzip"),
        ("deflate", "deflate"),
    ],
)
def test_a_header_names_the_coding_of_a_body(header: str | None, coding: str | None) -> None:
    assert body_coding(Headers({} if header is None else {"Content-Encoding": header})) == coding


def test_an_unsupported_coding_is_refused() -> None:
    for other in ("br", "zstd", "x-gzip", "", "gzip;q=1"):
        with pytest.raises(UnsupportedMedia, match="send it with gzip or deflate, or as it is"):
            body_coding(Headers({"Content-Encoding": other}))
    for several in ("gzip, gzip", "deflate,gzip", "identity, gzip"):
        with pytest.raises(UnsupportedMedia, match="compress it once"):
            body_coding(Headers({"Content-Encoding": several}))


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("*", None),
        ("*;q=1", None),
        ("br, zstd", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("deflate, gzip", "gzip"),
        ("deflate;q=0.8, gzip;q=0.5", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip; q=0.001", "gzip"),
        ("gzip;q=0, *", None),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.5, identity", None),
        ("gzip, identity;q=0.5", "gzip"),
        ("gzip;q=2", None),
        ("gzip;q=high", None),
        ("gzip;level=9", None),
        ("gzip;", None),
        ("x-gzip", None),
        (",,gzip,", "gzip"),
    ],
)
def test_the_accepted_codings_choose_that_of_the_answer(header: str | None, coding: str | None) -> None:
    assert answer_coding(Headers({} if header is None else {"Accept-Encoding": header})) == coding


@given(st.sampled_from(CODINGS), st.binary(max_size=300), st.integers(0, 3), st.lists(st.integers(0, 400)))
def test_a_stream_is_decompressed_piece_by_piece(
    coding: str, content: bytes, times: int, cuts: list[int]
) -> None:
    whole = COMPRESS[coding](content * 10**times)
    places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    pieces = [whole[begin:end] for begin, end in pairwise(places)]
    assert decompressed(coding, *pieces, most=1_000) == content * 10**times


@pytest.mark.parametrize("coding", CODINGS)
def test_a_stream_that_ends_early_is_refused(coding: str) -> None:
    whole = COMPRESS[coding](bytes(range(256)))
    for end in range(len(whole)):
        with pytest.raises(InvalidInput, match=f"ends before its {coding} stream does"):
            decompressed(coding, whole[:end])


@pytest.mark.parametrize("coding", CODINGS)
def test_bytes_behind_the_end_of_a_stream_are_refused(coding: str) -> None:
    whole = COMPRESS[coding](b"abc")
    for pieces in ((whole + b"\0",), (whole, b"\0"), (whole[:-1], whole[-1:] + b"\0"), (whole, whole)):
        with pytest.raises(InvalidInput, match=f"bytes behind the end of its {coding} stream"):
            decompressed(coding, *pieces)


def test_a_malformed_stream_is_refused() -> None:
    bare = zlib.compressobj(wbits=-15)
    for coding, body in (
        ("gzip", b"{}"),
        ("gzip", zlib.compress(b"abc")),
        ("deflate", gzip.compress(b"abc")),
        ("deflate", bare.compress(b"abc") + bare.flush()),
        ("deflate", zlib.compress(b"abc")[:-1] + b"!"),  # a wrong checksum
    ):
        with pytest.raises(InvalidInput, match=f"not what its Content-Encoding says, {coding}"):
            decompressed(coding, body)


@given(st.sampled_from(CODINGS), st.lists(st.binary(max_size=50), max_size=5))
def test_other_libraries_decompress_an_answer(coding: str, parts: list[bytes]) -> None:
    whole = compress([memoryview(part) for part in parts], coding)
    assert DECOMPRESS[coding](whole) == b"".join(parts)


@given(st.sampled_from(CODINGS), st.binary(max_size=100))
def test_any_bytes_are_decompressed_or_refused(coding: str, body: bytes) -> None:
    try:
        decompressed(coding, body)
    except TrtserveError:
        return
    assert DECOMPRESS[coding](body) is not None
