"""The bytes that clients send, and a session that they are sent to."""

from typing import Any

from runtime_ext import GrpcSession

OPENED, MESSAGE, HALF_CLOSED, LEFT, TOO_LARGE, MALFORMED, INFER, INFER_TOLD = range(8)
DATA, HEADERS, PRIORITY, RESET, SETTINGS, _, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1

INFER_PATH = "/inference.GRPCInferenceService/ModelInfer"
STREAM_PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
LIMIT = 1000  # bytes of a message
DEPTH = 4  # messages of a call in progress


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def literal(name: str, value: str, *, indexed: bool = False) -> bytes:
    """A header in HPACK as it stands, with a name of its own."""
    coded = b"\x40" if indexed else b"\x00"
    for text in (name.encode(), value.encode()):
        coded += integer(len(text), 7) + text
    return coded


def integer(number: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if number < most:
        return bytes([number])
    coded, number = [most], number - most
    while number >= 128:
        coded.append(number % 128 + 128)
        number //= 128
    return bytes([*coded, number])


HEAD = {":method": "POST", ":scheme": "http", ":path": INFER_PATH, ":authority": "x", "te": "trailers"}
HEAD |= {"content-type": "application/grpc"}


def fields(path: str = INFER_PATH, **more: str) -> bytes:
    sent = HEAD | {":path": path} | {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(literal(name, value) for name, value in sent.items())


def head(stream: int = 1, path: str = INFER_PATH, **more: str) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, fields(path, **more))


def prefixed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


def data(message: bytes, stream: int = 1, *, last: bool = True, flag: int = 0) -> bytes:
    return frame(DATA, END_STREAM if last else 0, stream, prefixed(message, flag))


def frames(written: bytes) -> list[tuple[int, int, int, bytes]]:
    """The frames in some bytes: kind, flags, stream and payload."""
    found = []
    while written:
        size = int.from_bytes(written[:3], "big")
        stream = int.from_bytes(written[5:9], "big")
        found.append((written[3], written[4], stream, written[9 : 9 + size]))
        written = written[9 + size :]
    return found


class Connection:
    """A session whose client has sent its preface, and what it puts out."""

    def __init__(self, **limits: Any) -> None:
        chosen = {"message_bytes": LIMIT, "in_progress": DEPTH, "calls": 100} | limits
        chosen = {"ping_interval_ns": 10**9, "ping_strikes": 2} | chosen
        self.session = GrpcSession(**chosen)
        self.now_ns = 0
        self.receive(PREFACE + frame(SETTINGS, ACK, 0))
        self.out()

    def receive(self, sent: bytes) -> list[Any]:
        """The events, as kind, stream and payload."""
        return [event[:3] for event in self.session.receive(sent, len(sent), self.now_ns)]

    def out(self) -> list[tuple[int, int, int, bytes]]:
        """The frames put out since the last call: kind, flags, stream and payload."""
        written = b""
        while more := bytes(self.session.output(65536)):
            written += more
        return frames(written)

    def flood(self, sent: bytes, times: int) -> bool:
        """Send something again and again, and take what comes back; True if that ends the connection."""
        for _ in range(times):
            self.session.receive(sent, len(sent), self.now_ns)
            self.session.events()
            self.out()
            if self.session.ended:
                return True
        return False
