"""What tokens and TLS cost a request: python -m bench.access.

First what it takes to look at a request, with and without tokens, in this process. Then servers that
differ in nothing else answer the same small requests in turns; the figure is the CPU time of the server's
process for each request. The least of many short rounds is what other work on the machine disturbs least.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from timeit import timeit
from typing import Any

import grpc
import numpy as np

from bench import bodies, models, wrk
from bench.serving import add, serving
from tests.certificates import Files
from tests.e2e.server import Server
from tests.tokens import Tokens
from trtserve.access.guard import Guard
from trtserve.access.scopes import INFERENCE, METHODS
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.short_heads import KnownHeads

ROUNDS, SECONDS, CONNECTIONS = 12, 1, 8
CALLS = 1500
LOOKS, CALLS_LOOKED, TIMES = 2000, 400, 60
CASES = ("open", "a token", "a token for some engines", "TLS", "TLS and a token")


@dataclass
class Case:
    server: Server
    url: str
    token: str | None
    files: Files | None


@contextmanager
def case(folder: Path, name: str) -> Iterator[Case]:
    options: list[str] = []
    tokens = Tokens(folder / f"{name}.json")
    everything = tokens.add("infer", "manage")
    token = files = None
    if "token" in name:
        engines = ("ident*", "other-*") if "some" in name else ("*",)
        token = tokens.add("infer", engines=engines)
        options += ["--token-file", str(tokens.file)]
    if "TLS" in name:
        (folder / name).mkdir()
        files = Files(folder / name)
        options += files.options
    with serving(folder, None, *options, grpc=True) as server:
        if files is not None:
            server.client.close()
            server.trust = files.trust()
            server.client = _client(server)
        server.client.headers["Authorization"] = everything
        plan = models.doubling(folder / "identity.onnx", [16])
        yield Case(server, add(server, "identity", plan, max_batch_size=1), token, files)


def _client(server: Server) -> Any:
    import httpx

    return httpx.Client(base_url=server.client.base_url, verify=server.trust, timeout=60)


def cpu_s(server: Server) -> float:
    """Of all threads, as the scheduler counts it: /proc/PID/stat counts in hundredths of a second."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def over_http(case: Case, request: wrk.Request) -> int:
    headers = request.headers | ({} if case.token is None else {"Authorization": case.token})
    load = wrk.load(case.url, wrk.Request(request.body, headers), CONNECTIONS, SECONDS)
    assert load.errors == 0, case.url
    return int(load.per_second * SECONDS)


def over_grpc(case: Case, message: Any) -> int:
    metadata = () if case.token is None else (("authorization", case.token),)
    with ExitStack() as held:
        address = case.server.grpc_address
        if case.files is None:
            channel = grpc.insecure_channel(address)
        else:
            roots = grpc.ssl_channel_credentials(case.files.authority.cert_pem.bytes())
            channel = grpc.secure_channel(address, roots)
        stubs = import_module("tritonclient.grpc.service_pb2_grpc")
        infer = stubs.GRPCInferenceServiceStub(held.enter_context(channel)).ModelInfer
        for _ in range(CALLS):
            infer(message, metadata=metadata)
    return CALLS


def measured(cases: dict[str, Case], ask: Callable[[Case], int]) -> dict[str, list[float]]:
    """Microseconds of CPU for each request, in interleaved rounds, by case."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(ROUNDS + 1):
        for name, each in cases.items():
            before = cpu_s(each.server)
            requests = ask(each)
            if number:  # the first warms up
                found[name].append((cpu_s(each.server) - before) / requests * 1e6)
    return found


def print_looks(folder: Path) -> None:
    """Print what it takes to look at a request without a guard, and with one."""
    tokens = Tokens(folder / "looks.json")
    everywhere, limited = tokens.add("infer"), tokens.add("infer", engines=("net*",))
    guard, hosts = Guard(tokens.file), AllowedHosts("", local=True)
    for token in (everywhere, limited):
        guard.check(token.encode(), INFERENCE)
    without, guarded = KnownHeads(10**6, hosts), KnownHeads(10**6, hosts, guard)
    looks: dict[tuple[str, str], Callable[[], float]] = {
        ("a head over HTTP", "open"): lambda: _looks(without, everywhere),
        ("a head over HTTP", "a token"): lambda: _looks(guarded, everywhere),
        ("a head over HTTP", "a token for some engines"): lambda: _looks(guarded, limited),
        ("a call over gRPC", "open"): lambda: _calls(None, everywhere),
        ("a call over gRPC", "a token"): lambda: _calls(guard, everywhere),
        ("a call over gRPC", "a token for some engines"): lambda: _calls(guard, limited),
    }
    least = dict.fromkeys(looks, float("inf"))
    for _ in range(TIMES):
        for each, look in looks.items():
            least[each] = min(least[each], look())
    print("| what | server | us | more than open |")
    print("|---|---|---|---|")
    for (what, name), us in least.items():
        print(f"| {what} | {name} | {us:.2f} | {us - least[what, 'open']:+.2f} |")
    print(flush=True)


def _looks(known: KnownHeads, token: str) -> float:
    """Microseconds that a look at a head takes."""
    sent = _head(token)
    assert known.look_up(sent) is not None
    return timeit(partial(known.look_up, sent), number=LOOKS) / LOOKS * 1e6


def _calls(guard: Guard | None, token: str) -> float:
    """Microseconds from a call's bytes to its end, with what the fast path asks the guard."""
    client = import_module("tests.seam.grpc.client")
    session = (client.Connection() if guard is None else client.Connection(tell_all=True)).session
    streams = range(1, 2 * CALLS_LOOKED, 2)
    sent = [client.head(stream, authorization=token) + client.data(b"m" * 100, stream) for stream in streams]
    began = perf_counter()
    for stream, call in zip(streams, sent, strict=True):
        told = session.receive(call, len(call), 0)
        if guard is not None:
            (_, _, path, _), _ = told
            authorization = session.authorization(stream)
            guard.check(authorization, METHODS[str(path)])
            guard.check(authorization, INFERENCE, "net")
        session.finish(stream, 0)
        session.output(65536)
    return (perf_counter() - began) / CALLS_LOOKED * 1e6


def _head(token: str) -> bytes:
    lines = (
        "POST /engines/net/infer HTTP/1.1",
        "Host: localhost",
        "Content-Length: 7",
        f"Authorization: {token}",
    )
    return "\r\n".join([*lines, "Inference-Header-Content-Length: 7", "", ""]).encode()


def main() -> None:
    wrk.check()
    x = np.arange(16, dtype=np.float32).reshape(1, 16)
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-access-") as name, ExitStack() as held:
        folder = Path(name)
        cases = {each: held.enter_context(case(folder, each)) for each in CASES}
        request = bodies.binary(folder, "INPUT0", "OUTPUT0", x)
        message = import_module("tests.e2e.grpc_calls").raw("identity", x, input="INPUT0")
        print_looks(folder)
        print("| protocol | server | us of CPU a request, least | more than open | median |")
        print("|---|---|---|---|---|")
        for protocol, ask in (
            ("HTTP, binary", lambda each: over_http(each, request)),
            ("gRPC", lambda each: over_grpc(each, message)),
        ):
            found = measured(cases, ask)
            base = min(found["open"])
            for each, figures in found.items():
                least, middle = min(figures), statistics.median(figures)
                print(
                    f"| {protocol} | {each} | {least:.1f} | {least - base:+.1f} | {middle:.1f} |", flush=True
                )


if __name__ == "__main__":
    main()
