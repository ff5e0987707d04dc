"""A connection of gRPC: calls and messages come out of bytes however they are cut, and answers go back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runtime_ext
from tests.seam.grpc.client import (
    DATA,
    DEPTH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HALF_CLOSED,
    HEADERS,
    INFER,
    INFER_PATH,
    INFER_TOLD,
    LEFT,
    LIMIT,
    MALFORMED,
    MESSAGE,
    OPENED,
    RESET,
    STREAM_PATH,
    TOO_LARGE,
    WINDOW,
    Connection,
    data,
    fields,
    frame,
    head,
    literal,
    prefixed,
)

CANCEL = (8).to_bytes(4, "big")


def kinds(events: list[Any]) -> list[int]:
    return [kind for kind, *_ in events]


def status_of(frames: list[tuple[int, int, int, bytes]], stream: int = 1) -> bytes:
    """The last headers of a call that has ended."""
    return [
        payload
        for kind, flags, of, payload in frames
        if kind == HEADERS and of == stream and flags & END_STREAM
    ][-1]


@given(st.lists(st.integers(1, 60), min_size=1))
def test_a_request_is_the_same_however_its_bytes_are_cut(sizes: list[int]) -> None:
    connection, sent, events = Connection(), head() + data(b"m" * 500), []
    while sent:
        size = sizes.pop(0) if sizes else len(sent)
        events += connection.receive(sent[:size])
        sent = sent[size:]
    ((kind, stream, message),) = events
    assert (kind, stream, bytes(message), message.compressed) == (INFER, 1, b"m" * 500, False)
    assert connection.session.held == 0


@pytest.mark.parametrize("size", [64, 100, 999])
def test_a_message_ends_at_an_aligned_address(size: int) -> None:
    """Most messages end with their last tensor, which can then be used where it is."""
    connection = Connection()
    ((_, _, message),) = connection.receive(head() + data(b"m" * size))
    assert (np.frombuffer(message, np.uint8).ctypes.data + size) % 64 == 0


def test_an_answer_and_its_status_go_out_and_are_reported_once() -> None:
    connection = Connection()
    connection.receive(head() + data(b"m"))
    assert connection.session.send(1, [b"an ", b"answer"])
    connection.session.finish(1)
    frames = connection.out()
    assert [payload for kind, _, _, payload in frames if kind == DATA] == [prefixed(b"an answer")]
    assert [(kind, flags & END_STREAM) for kind, flags, _, _ in frames] == [
        (HEADERS, 0),
        (DATA, 0),
        (HEADERS, 1),
    ]
    assert (connection.session.sent(), connection.session.sent()) == ([1], [])
    assert (connection.session.calls, connection.session.events()) == (0, [])


@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)])
def test_an_answer_may_be_as_large_as_a_message(size: int, fits: bool) -> None:
    connection = Connection()
    connection.receive(head() + data(b"m"))
    assert connection.session.send(1, [bytes(size - 1), b"m"]) == fits
    assert (DATA in [kind for kind, *_ in connection.out()]) == fits


def test_a_call_with_a_status_reads_nothing_more() -> None:
    connection = Connection()
    connection.receive(head(path=STREAM_PATH))
    connection.session.send(1, [b"an answer that is not yet sent"])
    connection.session.finish(1, 5, "Not found")
    assert connection.receive(data(b"m", last=False) + frame(DATA, 0, 1, b"\0\0")) == []
    assert connection.session.held == 0


def test_an_error_ends_a_call_that_still_sends() -> None:
    connection = Connection()
    connection.receive(head() + frame(DATA, 0, 1, prefixed(b"m" * 100)[:50]))
    assert connection.session.held == 45
    connection.session.finish(1, 5, "Not 100% found: é", [("code", "NotFound")])
    frames = connection.out()
    assert [kind for kind, *_ in frames] == [HEADERS, RESET]
    assert connection.session.held == 0
    assert connection.receive(frame(DATA, END_STREAM, 1, b"rest")) == []


def test_messages_of_a_stream_wait_while_too_many_are_in_progress() -> None:
    connection = Connection()
    messages = [bytes([number]) for number in range(10)]
    events = connection.receive(
        head(path=STREAM_PATH) + frame(DATA, END_STREAM, 1, b"".join(map(prefixed, messages)))
    )
    assert kinds(events) == [OPENED] + [MESSAGE] * DEPTH
    got = [bytes(payload) for kind, _, payload in events if kind == MESSAGE]
    while len(got) < 10:
        connection.session.send(1, [b"answer"])
        connection.out()
        assert connection.session.sent() == [1]
        more = [event[:3] for event in connection.session.events()]
        got += [bytes(payload) for kind, _, payload in more if kind == MESSAGE]
        assert (HALF_CLOSED in kinds(more)) == (len(got) == 10)
    assert got == messages


def test_a_client_can_send_only_a_window_ahead_of_the_messages_that_are_read() -> None:
    connection = Connection()
    connection.receive(head(path=STREAM_PATH))
    message = prefixed(b"m" * 995)
    updates = []
    for _ in range(3000):
        connection.receive(frame(DATA, 0, 1, message))
        updates += [stream for kind, _, stream, _ in connection.out() if kind == WINDOW]
    assert 1 not in updates, "the call's window stays as it is"
    assert connection.session.held == (3000 - DEPTH) * len(message)


def test_a_skipped_message_is_dropped_and_the_next_one_read() -> None:
    connection = Connection()
    begun = prefixed(b"a" * 100)
    connection.receive(head(path=STREAM_PATH) + frame(DATA, 0, 1, begun[:50]))
    assert connection.session.skip(1)
    assert connection.session.held == 0
    assert not connection.session.skip(1)
    ((kind, _, message),) = connection.receive(frame(DATA, 0, 1, begun[50:] + prefixed(b"b")))
    assert (kind, bytes(message)) == (MESSAGE, b"b")


def test_a_skipped_message_counts_until_it_is_answered() -> None:
    connection = Connection()
    connection.receive(head(path=STREAM_PATH) + frame(DATA, 0, 1, prefixed(b"a" * 100)[:50]))
    connection.session.skip(1)
    rest = prefixed(b"a" * 100)[50:] + prefixed(b"b") * DEPTH
    assert kinds(connection.receive(frame(DATA, 0, 1, rest))) == [MESSAGE] * (DEPTH - 1)
    connection.session.send(1, [b"an error"])
    connection.out()
    assert connection.session.sent() == [1]
    assert kinds(connection.session.events()) == [MESSAGE]


def test_nothing_is_kept_of_a_message_whose_call_is_left() -> None:
    connection = Connection()
    connection.receive(head(path=STREAM_PATH) + frame(DATA, 0, 1, prefixed(b"m" * 100)[:50]))
    assert connection.session.held == 45
    assert kinds(connection.receive(frame(RESET, 0, 1, CANCEL))) == [LEFT]
    assert connection.session.held == 0


def test_a_call_that_is_left_is_reported_and_forgotten() -> None:
    connection = Connection()
    connection.receive(head() + data(b"m"))
    assert connection.receive(frame(RESET, 0, 1, CANCEL)) == [(LEFT, 1, None)]
    assert connection.session.send(1, [b"late"])
    connection.session.finish(1)
    assert (connection.out(), connection.session.calls) == ([], 0)


WRONG = {
    "a message over the limit": (
        frame(DATA, 0, 1, b"\0" + (LIMIT + 1).to_bytes(4, "big")),
        TOO_LARGE,
        LIMIT + 1,
    ),
    "a wrong first byte": (data(b"m", flag=2), MALFORMED, "the first byte of a message is neither 0 nor 1"),
    "an end within a message": (
        frame(DATA, END_STREAM, 1, prefixed(b"mm")[:6]),
        MALFORMED,
        "the call ends within a message",
    ),
    "an end within a prefix": (
        frame(DATA, END_STREAM, 1, b"\0"),
        MALFORMED,
        "the call ends within a message",
    ),
    "no message": (frame(DATA, END_STREAM, 1), HALF_CLOSED, None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_call_is_told_once(wrong: str) -> None:
    sent, kind, payload = WRONG[wrong]
    connection = Connection()
    assert connection.receive(head() + sent) == [(kind, 1, payload)]
    assert connection.session.held == 0


@pytest.mark.parametrize(
    ("given", "status"), [({"content-type": "text/plain"}, b"415"), ({":method": "PUT"}, b"405")]
)
def test_requests_that_are_not_grpc_get_a_status_of_http(given: dict[str, str], status: bytes) -> None:
    connection = Connection()
    assert connection.receive(head(**given) + data(b"m")) == []
    assert status in status_of(connection.out())


@pytest.mark.parametrize(
    ("sent", "due_ns"),
    [
        ("5m", 5_000_000),
        ("1S", 10**9),
        ("7u", 7000),
        ("1H", 3600 * 10**9),
        ("soon", None),
        ("123456789m", None),
    ],
)
def test_a_deadline_counts_from_the_head_of_its_call(sent: str, due_ns: int | None) -> None:
    connection = Connection()
    connection.now_ns = 100
    connection.receive(head(grpc_timeout=sent))
    if due_ns is None:
        assert connection.session.overdue(10**18) == []
    else:
        assert connection.session.overdue(100 + due_ns - 1) == []
        assert connection.session.overdue(100 + due_ns) == [1]


def test_calls_that_wait_for_their_message_are_known_with_what_they_received() -> None:
    connection = Connection()
    connection.receive(head(1) + head(3, path=STREAM_PATH) + head(5) + frame(DATA, 0, 5, b"\0"))
    assert sorted(connection.session.expecting()) == [(1, 0), (5, 1)]
    connection.receive(frame(DATA, 0, 3, b"\0\0"))
    assert sorted(connection.session.expecting()) == [(1, 0), (3, 2), (5, 1)]


def test_an_answer_waits_for_its_clients_window() -> None:
    connection = Connection()
    connection.receive(frame(4, 0, 0, b"\x00\x04" + bytes(4)) + head() + data(b"m"))
    connection.session.send(1, [b"answer"])
    connection.session.finish(1)
    connection.out()
    assert connection.session.sent() == []
    connection.receive(frame(WINDOW, 0, 1, (100).to_bytes(4, "big")))
    assert [kind for kind, *_ in connection.out()] == [DATA, HEADERS]
    assert connection.session.sent() == [1]


def test_an_ended_connection_gives_its_calls_a_status_and_a_reason() -> None:
    connection = Connection()
    connection.receive(head() + data(b"m"))
    connection.session.end(0, "reason", "The server is stopping.")
    frames = connection.out()
    assert status_of(frames)
    assert [payload[8:] for kind, _, _, payload in frames if kind == GOAWAY] == [b"reason"]
    assert connection.session.ended


# -- who calls


def test_the_authorization_of_a_call_is_told_and_is_empty_if_there_are_several() -> None:
    connection = Connection()
    connection.receive(head(1, STREAM_PATH, authorization="Bearer x"))
    connection.receive(head(3, STREAM_PATH))
    twice = fields(STREAM_PATH, authorization="Bearer x") + literal("authorization", "Bearer x")
    connection.receive(frame(HEADERS, END_HEADERS, 5, twice))
    told = [connection.session.authorization(stream) for stream in (1, 3, 5, 7)]
    assert told == [b"Bearer x", None, b"", None]


TOLD = ["x-request-id", "traceparent"]


def test_the_headers_that_are_asked_for_come_with_the_message() -> None:
    connection = Connection(told=TOLD)
    sent = head(1, traceparent="00-1", other="a") + data(b"message")
    ((kind, stream, (message, told)),) = connection.receive(sent)
    assert (kind, stream, bytes(message), told) == (INFER_TOLD, 1, b"message", (None, b"00-1", None, None))
    assert kinds(connection.receive(head(3, other="a") + data(b"message", 3))) == [INFER]


def test_the_headers_of_other_calls_are_told_when_they_are_opened() -> None:
    connection = Connection(told=TOLD)
    connection.receive(head(1, STREAM_PATH, x_request_id="a"))
    connection.receive(head(3, STREAM_PATH, other="a"))
    told = [connection.session.told(stream) for stream in (1, 3, 5)]
    assert told == [(b"a", None, None, None), None, None]


def test_the_first_of_several_headers_counts() -> None:
    connection = Connection(told=TOLD)
    twice = fields(STREAM_PATH, x_request_id="a") + literal("x-request-id", "b")
    connection.receive(frame(HEADERS, END_HEADERS, 1, twice))
    assert connection.session.told(1) == (b"a", None, None, None)


def test_no_more_than_four_headers_are_told() -> None:
    with pytest.raises(runtime_ext.Error, match="more than 4"):
        Connection(told=["a", "b", "c", "d", "e"])


def test_an_authorization_in_trailers_is_none() -> None:
    connection = Connection()
    connection.receive(head(1, STREAM_PATH))
    connection.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal("authorization", "Bearer x")))
    assert connection.session.authorization(1) is None


def test_every_call_is_told_when_it_is_opened_if_all_are_asked_for() -> None:
    connection = Connection(tell_all=True)
    assert connection.receive(head(1, authorization="x")) == [(OPENED, 1, INFER_PATH)]
    assert connection.session.authorization(1) == b"x"
    assert kinds(connection.receive(data(b"message"))) == [INFER]
    assert kinds(connection.receive(head(3) + data(b"message", 3))) == [OPENED, INFER]
    assert kinds(connection.receive(head(5) + frame(RESET, 0, 5, CANCEL))) == [OPENED, LEFT]


def test_nothing_is_kept_of_the_message_of_a_call_that_was_refused_at_its_beginning() -> None:
    connection = Connection(tell_all=True)
    connection.receive(head(1))
    connection.session.finish(1, 16, "no token")
    assert connection.receive(data(b"m" * LIMIT)) == []
    assert (connection.session.held, connection.session.has_events) == (0, False)
    assert status_of(connection.out())
