"""The fuzzer's target for request heads: the reader in C++, a reader in Python, and httptools must agree.

An input is what arrives on a connection. The reader must read exactly the heads that the grammar below
allows; httptools must accept each of them, end it at the same byte and read the same values; and the short
way must make of each what it would make of all its headers.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import httptools
from starlette.datastructures import Headers

from runtime_ext import HeadReader
from trtserve.codec import LONGEST_NS, BodyForm, Form
from trtserve.errors import TrtserveError
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.connection import MOST_HEAD_BYTES, refusal
from trtserve.http.headers import read_headers
from trtserve.http.short_heads import KEPT, NUMBERS, TOKEN, UNUSUAL, KnownHeads
from trtserve.inference.calls import HERE_BYTES
from trtserve.telemetry.asked import TRACED

LIMIT = 10_000_000  # bytes of a body
BODY = 100_000  # bytes of a body that is sent to httptools; a longer one is not
SHORT = 2048  # bytes of the longest short head
HOSTS = AllowedHosts("", local=True)

# RFC 9112, sections 3 and 5, without what is optional, obsolete or for other requests.
HEAD = re.compile(
    rb"POST (?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*) HTTP/1\.1\r\n"
    rb"(?P<headers>(?:[A-Za-z0-9!#$%&'*+.^_`|~-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
NUMBER = re.compile(rb"[ \t]*(0|[1-9][0-9]{0,17})")

WORDS = [
    *(
        "POST ",
        " HTTP/1.1\r\n",
        "\r\n\r\n",
        "\r\n",
        "\n",
        "\r",
        ": ",
        " ",
        "\t",
        "/infer",
        "/engines/net",
        "%2F",
    ),
    *("PUT ", "GET ", " HTTP/1.0", " HTTP/2.0", "http://a", "?", "#", "/v2/models/net", "/versions/1"),
    *(f"{name}: " for name in (*KEPT, *NUMBERS, *UNUSUAL, TOKEN, *TRACED, "trailer", "te", "keep-alive")),
    *("close", "keep-alive", "upgrade", "chunked", "100-continue", "gzip", "identity", "localhost", "null"),
    *("application/json", "application/x-safetensors", "cross-site", "0", "7", "00", "+1", "1, 1"),
]


LINES = [
    *(
        b"Connection: " + value
        for value in (b"keep-alive", b"Close", b"a, close", b"closed", b"upgrade", b"")
    ),
    *(b"Proxy-Connection: close", b"Expect: 100-continue", b"Upgrade: h2c", b"Upgrade:"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Trailer: content-length"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: identity", b"Accept-Encoding: deflate"),
    *(b"Content-Type: application/x-safetensors", b"Content-Type: a\r\nContent-Type: b", b"Content-Type:"),
    *(b"Inference-Timeout-Ms: 5", b"Inference-Timeout-Ms: soon", b"INFERENCE-TIMEOUT-MS: 0"),
    *(b"Inference-Timeout-Ms: 5\r\nInference-Timeout-Ms: 5", b"Inference-Header-Content-Length: 007"),
    *(b"Host: a\r\nHost: a", b"Host: a.example", b"Origin: http://a.example", b"Sec-Fetch-Site: cross-site"),
    *(
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b" X: a",
        b"X : a",
        b"X\t: a",
        b": a",
        b"X",
        b"X: a\nY: b",
        b"X: a\rY: b",
    ),
    *(
        b"X: a\r\r\nY: b",
        b"X: a\n\r\nY: b",
        b"X: \0",
        b"X: \x01",
        b"X: \x7f",
        b"X: \x1f",
        b"X:\ta\t",
        b"X:  a  ",
    ),
    *(
        b"X: \xff\x80",
        b"X\xff: a",
        b'X": a',
        b"X(: a",
        b"X/: a",
        b"X,: a",
        b"X@: a",
        b"X[: a",
        b"X{: a",
        b"X\0: a",
    ),
    *(b"!#$%&'*+-.^_`|~09Az: a", b"X: " + b"a" * 4000, b"Accept: " + b"a" * 2000, b"Content-Lengt: 8"),
    *(
        b"X-Request-Id: \ta ",
        b"X-REQUEST-ID:",
        b"Prefer: a\r\nprefer: b",
        b"Traceparent: 00-1",
        b"tracestate:a",
    ),
    *(b"Authorization: Bearer a", b"AUTHORIZATION:", b"Authorization: a\r\nauthorization: b"),
    *(b"Content-Lengthy: 8", b"Content-Length : 8", b"Content_Length: 8", b"X: a:b:c", b"X:"),
    b"X" * 100 + b": a",
]
TARGETS = [
    *(b"/v2/models/net/infer", b"/v2/models/net/versions/1/infer", b"/v2/models/net/versions/1%2F2/infer"),
    *(b"/v2/models/n%65t/infer", b"/engines/%FF/infer", b"/engines/%/infer", b"/engines/a%2Fb/infer"),
    *(
        b"/engines/net/infer?",
        b"/engines/net/infer?a=1",
        b"/engines/net/infer#a",
        b"/engines/net/infer/",
        b"/",
    ),
    *(
        b"http://localhost/engines/net/infer",
        b"//engines/net/infer",
        b"*",
        b"",
        b"engines/net/infer",
        b"/a b/infer",
    ),
    *(b"/engines/n\xc3\xa9t/infer", b"/engines/\0/infer", b"/engines/\x7f/infer", b"/engines/a\tb/infer"),
    *(
        b'/engines/"/infer',
        b"/engines/<>/infer",
        b"/engines/\\/infer",
        b"/engines/^/infer",
        b"/engines/[]/infer",
    ),
    *(
        b"/engines/{|}/infer",
        b"/engines/`/infer",
        b"/engines/-._~!$&'()*+,;=:@/infer",
        b"/engines" + b"/a" * 2000,
    ),
]
LENGTHS = [
    *(
        b" 7",
        b"7",
        b"\t7",
        b"  7",
        b" 7 ",
        b" 7\t",
        b"",
        b" ",
        b" +7",
        b" -7",
        b" 07",
        b" 00",
        b" 0",
        b" 7, 7",
        b" 0x7",
    ),
    *(
        b" 7a",
        b" 7 7",
        b" 999999999999999999",
        b" 1000000000000000000",
        b" 99999999999999999999",
        b" \xb2",
        b" 7\0",
    ),
]


def check(data: bytes) -> None:
    read = HeadReader(KEPT, NUMBERS, UNUSUAL, TOKEN, TRACED).read(data)
    expected = by_grammar(data)
    several = expected is not None and any(
        len(values_of(name, data[: expected[1]])) > 1 for name in (TOKEN, *TRACED)
    )
    assert read == (None if several else expected)
    untold = HeadReader(KEPT, NUMBERS, UNUSUAL).read(data)
    assert untold == (expected and (*expected[:-2], None, None)), "several matter only where one is told"
    found = KnownHeads(LIMIT, HOSTS, asked=TRACED).look_up(data)
    if read is None:
        assert found is None or several
        return
    short, end, *numbers, token, told = read
    whole, shortened = Parsed(data[:end]), Parsed(short)
    assert whole.error is None, "httptools refuses what the reader reads"
    assert (whole.heads, shortened.heads) == (1, 1)
    assert Parsed(data[: end - 1]).heads == 0, "httptools ends the head earlier"
    assert whole.line == shortened.line
    assert whole.named(KEPT) == shortened.named(KEPT)
    assert not whole.named(UNUSUAL)
    assert [value for _, value in whole.named((TOKEN,))] == ([] if token is None else [token])
    assert told is None or any(value is not None for value in told)
    for name, value in zip(TRACED, told or [None] * len(TRACED), strict=True):
        assert [sent.strip(b" \t") for _, sent in whole.named((name,))] == ([] if value is None else [value])
    for name, number in zip(NUMBERS, numbers, strict=True):
        values = [int(value) for _, value in whole.named((name,))]
        assert values == ([] if number < 0 else [number])
    if 0 <= numbers[0] <= BODY:
        body = bytes(numbers[0])
        assert Parsed(data[:end] + body).messages == 1
        assert not body or Parsed(data[:end] + body[1:]).messages == 0
    expected = by_all_headers(whole, end)
    if expected is None:
        assert found is None
        return
    assert found is not None
    form = replace(found.head.form, header_length=None, timeout_ns=None)
    assert (found.head.ref, found.head.version, form) == expected[:3]
    assert (found.end, found.length, found.header_length, found.timeout_ns) == expected[3:]


def values_of(header: str, head: bytes) -> list[bytes]:
    """The values of the headers with this name, in a head that the grammar allows."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    return [value.strip(b" \t") for name, _, value in lines if name.decode("latin-1").lower() == header]


def by_grammar(
    data: bytes,
) -> tuple[bytes, int, int, int, int, bytes | None, tuple[bytes | None, ...] | None] | None:
    """What the reader in C++ should return, if there is at most one of each header that it tells."""
    found = HEAD.match(data)
    if found is None or found.end() > MOST_HEAD_BYTES:
        return None
    short = [b"POST %b HTTP/1.1\r\n" % found["path"]]
    numbers = dict.fromkeys(NUMBERS, -1)
    for line in found["headers"].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        known = name.decode().lower()
        if known in UNUSUAL:
            return None
        if known in KEPT:
            short.append(b"%b:%b\r\n" % (known.encode(), value))
        if known in NUMBERS:
            number = NUMBER.fullmatch(value)
            if number is None or numbers[known] >= 0:
                return None
            numbers[known] = int(number[1])
            short.append(b"%b:0\r\n" % known.encode())
    joined = b"".join([*short, b"\r\n"])
    token, *told = (next(iter(values_of(name, found[0])), None) for name in (TOKEN, *TRACED))
    tells = any(value is not None for value in told)
    whole = (joined, found.end(), *numbers.values(), token, tuple(told) if tells else None)
    return None if len(joined) > SHORT else whole  # type: ignore[return-value]


Expected = tuple[str, str | None, BodyForm, int, int, int, int | None]


def by_all_headers(whole: "Parsed", end: int) -> Expected | None:
    """What the short way should make of a head, decided from all its headers; None: nothing."""
    headers = Headers(raw=whole.headers)
    path = re.fullmatch(rb"/(?:engines/([^/]+)|v2/models/([^/]+)(?:/versions/([^/]+))?)/infer", whole.url)
    if path is None or not whole.stays_open or "content-length" not in headers:
        return None
    if refusal(b"POST", "1.1", whole.headers) or HOSTS.refusal("POST", whole.headers):
        return None
    try:
        form = read_headers(headers)
        engine, model, version = (None if part is None else unquoted(part) for part in path.groups())
    except (TrtserveError, UnicodeDecodeError):
        return None
    length = int(headers["content-length"])
    header_length = -1 if form.header_length is None else int(form.header_length)
    written = length if header_length < 0 and form.body is Form.PROTOCOL else header_length
    slash = "/" in (engine or model or "") or "/" in (version or "")
    if form.coding is not None or slash or length > LIMIT or written > HERE_BYTES:
        return None
    timeout = headers.get("inference-timeout-ms")
    return (
        engine or model or "",
        version,
        replace(form, header_length=None, timeout_ns=None),
        end,
        length,
        header_length,
        None if timeout is None else min(int(timeout) * 10**6, LONGEST_NS),
    )


def unquoted(part: bytes) -> str:
    """A part of a path, decoded without the product's own code."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), part).decode()


class Parsed:
    """What httptools, set up as in the server, reads in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.line: tuple[object, ...] = ()
        self.stays_open = False
        self.heads = self.messages = 0  # that are complete
        self.error: Exception | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.error = error

    def named(self, names: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
        return [header for header in self.headers if header[0].decode() in names]

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1
        self.stays_open = self._parser.should_keep_alive()
        version = self._parser.get_http_version()
        self.line = (self._parser.get_method(), self.url, version, self.stays_open)

    def on_message_complete(self) -> None:
        self.messages += 1


def seeds() -> Iterator[bytes]:
    """Seed inputs: heads that clients send, and near misses."""
    begin = b"POST /engines/net/infer HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 7\r\n"
    usual = (
        b"Inference-Header-Content-Length: 150\r\nContent-Type: application/octet-stream\r\n"
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Request-ID: 1-2\r\n"
    )
    browser = b"Origin: null\r\nSec-Fetch-Site: same-origin\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n"
    yield from (begin + lines + b"\r\n1234567" for lines in (b"", usual, browser, usual + browser))
    for line in LINES:
        yield begin + line + b"\r\n\r\n1234567"
    empty = by_grammar(begin + b"Accept: \r\n\r\n")
    assert empty is not None
    for size in range(SHORT - 3, SHORT + 3):  # of the short head
        yield begin + b"Accept: " + b"a" * (size - len(empty[0])) + b"\r\n\r\n1234567"
    for target in TARGETS:
        yield begin.replace(b"/engines/net/infer", target) + b"\r\n"
    for old, new in (
        *(
            (b"POST", method)
            for method in (b"PUT", b"GET", b"post", b"HEAD", b"COPY", b"POST ", b" POST", b"", b"\r\nPOST")
        ),
        *((b"HTTP/1.1", version) for version in (b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"")),
        *((b": 7", b":" + length) for length in LENGTHS),
        (b"\r\n", b"\n"),
        (b"\r\n", b"\r"),
        (b"Host", b"Content-Length: 7\r\nHost"),
    ):
        yield begin.replace(old, new) + b"\r\n1234567"
