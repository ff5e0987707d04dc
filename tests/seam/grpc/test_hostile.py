"""What a hostile client can make a connection of gRPC keep, or do: each kind is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_ext import GrpcSession
from tests.seam.grpc.client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEAD,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RESET,
    SETTINGS,
    STREAM_PATH,
    WINDOW,
    Connection,
    data,
    fields,
    frame,
    frames,
    head,
    integer,
    literal,
)

CALM = 11  # the error ENHANCE_YOUR_CALM
HEAD_BYTES = 16_384  # counted as HTTP/2 does: 32 more for each header
FLOOD = 20_000

FLOODS = {
    "settings": frame(SETTINGS, 0, 0),
    "acknowledgements": frame(SETTINGS, ACK, 0),
    "pings": frame(PING, 0, 0, bytes(8)),
    "acknowledged pings": frame(PING, ACK, 0, bytes(8)),
    "priorities": frame(PRIORITY, 0, 1, bytes(4) + b"\x10"),
    "windows": frame(WINDOW, 0, 0, (1).to_bytes(4, "big")),
    "empty data": frame(DATA, 0, 1),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_without_effect_ends_the_connection(kind: str) -> None:
    connection = Connection(ping_strikes=0)
    connection.receive(head(path=STREAM_PATH))
    assert connection.flood(FLOODS[kind], FLOOD)


def test_frames_without_effect_are_no_flood_between_messages() -> None:
    connection = Connection(ping_strikes=0)
    connection.receive(head(path=STREAM_PATH))
    for _ in range(5):
        assert not connection.flood(FLOODS["windows"], 5_000)
        connection.receive(data(b"m", last=False))
        connection.session.send(1, [b"answer"])
        connection.out()
        connection.session.sent()


def test_calls_that_are_reset_at_once_end_the_connection() -> None:
    """CVE-2023-44487: such calls are never open together, so their number is no limit."""
    connection = Connection()
    for stream in range(1, 2 * FLOOD, 2):
        sent = head(stream) + frame(RESET, 0, stream, (8).to_bytes(4, "big"))
        connection.session.receive(sent, len(sent), 0)
        connection.out()
        if connection.session.ended:
            return
    raise AssertionError("the connection goes on")


def test_messages_whose_calls_are_reset_at_once_end_the_connection() -> None:
    """Each message does something, so that only the number of resets is a limit."""
    connection = Connection()
    for stream in range(1, 2 * FLOOD, 2):
        sent = head(stream) + data(b"m", stream) + frame(RESET, 0, stream, (8).to_bytes(4, "big"))
        connection.receive(sent)
        connection.out()
        if connection.session.ended:
            return
    raise AssertionError("the connection goes on")


def test_calls_that_are_answered_and_reset_are_no_flood() -> None:
    connection = Connection()
    for stream in range(1, 2_000, 2):
        connection.receive(head(stream) + data(b"m", stream))
        connection.receive(frame(RESET, 0, stream, (8).to_bytes(4, "big")))
        connection.out()
    assert not connection.session.ended


def test_a_head_that_never_ends_ends_the_connection() -> None:
    connection = Connection()
    connection.receive(frame(HEADERS, 0, 1, fields()))
    assert connection.flood(frame(CONTINUATION, 0, 1, literal("a", "b")), 20)


def test_a_head_that_grows_when_it_is_read_is_refused() -> None:
    """Each of the many references takes a byte, and stands for a header of 4 KB."""
    connection = Connection()
    connection.receive(frame(HEADERS, END_HEADERS, 1, fields() + literal("a", "b" * 3900, indexed=True)))
    bomb = fields() + bytes([0x80 | 62]) * 10_000
    assert connection.receive(frame(HEADERS, END_HEADERS, 3, bomb)) == []
    ended = [(kind, stream) for kind, _, stream, _ in connection.out()]
    assert (RESET, 3) in ended or connection.session.ended
    assert connection.session.calls <= 1


@pytest.mark.parametrize(("bytes_more", "refused"), [(0, False), (1, True)])
def test_a_head_may_have_as_many_bytes_as_announced(bytes_more: int, refused: bool) -> None:
    counted = sum(len(name) + len(value) + 32 for name, value in HEAD.items())
    connection = Connection()
    long = literal("a", "b" * (HEAD_BYTES + bytes_more - counted - 33))
    connection.receive(frame(HEADERS, END_HEADERS, 1, fields() + long))
    assert ((RESET, 1) in [(kind, stream) for kind, _, stream, _ in connection.out()]) == refused


def test_the_limits_are_announced() -> None:
    session = GrpcSession(message_bytes=1000, in_progress=4, calls=7, ping_interval_ns=10**9, ping_strikes=2)
    (_, _, _, settings), (_, _, stream, window) = frames(bytes(session.output(65536)))
    announced = {
        int.from_bytes(settings[at : at + 2], "big"): int.from_bytes(settings[at + 2 : at + 6], "big")
        for at in range(0, len(settings), 6)
    }
    assert announced == {3: 7, 4: 4 << 20, 5: 1 << 20, 6: HEAD_BYTES, 9: 1}  # RFC 9113, 6.5.2; RFC 9218, 2.1
    assert (stream, int.from_bytes(window, "big")) == (0, (16 << 20) - 65_535)  # of the connection


def test_a_table_of_headers_larger_than_announced_ends_the_connection() -> None:
    connection = Connection()
    connection.receive(frame(HEADERS, END_HEADERS, 1, b"\x20" + bytes(integer(1 << 20, 5)[1:])))
    connection.out()
    assert connection.session.ended


@pytest.mark.parametrize(("strikes", "ended"), [(2, True), (0, False)])
def test_pings_too_soon_after_each_other_are_strikes(strikes: int, ended: bool) -> None:
    connection = Connection(ping_strikes=strikes)
    for _ in range(4):
        connection.now_ns += 10**8
        connection.receive(FLOODS["pings"])
    reasons = [payload[4:] for kind, _, _, payload in connection.out() if kind == GOAWAY]
    assert reasons == ([CALM.to_bytes(4, "big") + b"too_many_pings"] if ended else [])


def test_pings_at_the_interval_are_no_strikes() -> None:
    connection = Connection()
    for _ in range(20):
        connection.now_ns += 10**9
        connection.receive(FLOODS["pings"])
    assert not connection.session.ended


def test_more_calls_than_announced_are_refused() -> None:
    connection = Connection(calls=3)
    connection.receive(frame(SETTINGS, ACK, 0))
    for stream in range(1, 11, 2):
        connection.receive(head(stream))
    connection.out()
    assert connection.session.calls <= 3


@given(st.binary(max_size=2000))
def test_any_bytes_leave_a_session_that_can_be_asked(sent: bytes) -> None:
    connection = Connection()
    connection.receive(sent)
    connection.out()
    assert connection.session.held <= len(sent)
    assert connection.session.calls >= 0


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 1, 3, 5, 2, 2**31 - 1]),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([fields(), fields(STREAM_PATH), b"\0\0\0\0\1m", b"\0\0\0\0\0", bytes(4), bytes(8)]),
    ),
)


@given(st.lists(st.one_of(FRAMES, st.sampled_from([head(), head(3, STREAM_PATH), data(b"m")])), max_size=30))
def test_any_frames_leave_a_session_that_can_be_asked(frames: list[bytes]) -> None:
    connection = Connection()
    for each in frames:
        for _, stream, _ in connection.receive(each):
            connection.session.send(stream, [b"answer"])
        connection.session.expecting()
        connection.session.overdue(10**18)
        connection.out()
        connection.session.sent()
    assert connection.session.held <= sum(map(len, frames))


def test_another_protocol_ends_the_connection() -> None:
    for sent in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE[:10] + bytes(30)):
        session = GrpcSession(message_bytes=1, in_progress=1, calls=1, ping_interval_ns=0, ping_strikes=0)
        session.receive(sent, len(sent), 0)
        assert session.ended
