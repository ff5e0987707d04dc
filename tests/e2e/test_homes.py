"""Envoy in front of three servers: each engine is loaded by one of them, over HTTP and gRPC."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.e2e.envoy import Envoy
from tests.e2e.grpc_calls import only_output, raw, refusal
from tests.e2e.server import Server
from tests.seam.models import scaling

SERVERS = 3
FACTORS = {f"net{number}": float(number + 2) for number in range(12)}
NAMES = list(FACTORS)
X = np.arange(4, dtype=np.float32).reshape(1, 4)
INPUT = {"name": "x", "shape": X.shape, "datatype": "FP32", "data": X.ravel().tolist()}


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped server's store: an engine under each name, which a start leaves to its first request."""
    folder = tmp_path_factory.mktemp("seed")
    with Server(folder / "store", "--trial-load", "off") as server:
        for name, factor in FACTORS.items():
            plan = scaling(folder / f"{name}.onnx", factor).read_bytes()
            options = {"name": name, "residency": "lazy"}
            server.client.post("/engines", params=options, content=plan).raise_for_status()
    return folder / "store"


@pytest.fixture
def fleet(tmp_path: Path, seed: Path) -> Iterator[list[Server]]:
    """Servers that all have every plan, and have loaded none."""
    with ExitStack() as running:
        servers = []
        for number in range(SERVERS):
            store = shutil.copytree(seed, tmp_path / f"store{number}")
            servers.append(running.enter_context(Server(store, grpc=True)))
        yield servers


@pytest.fixture
def envoy(tmp_path: Path, fleet: list[Server]) -> Iterator[Envoy]:
    with Envoy(tmp_path / "envoy", fleet) as envoy:
        yield envoy


def resident(server: Server) -> set[str]:
    """The names of the engines that a server has loaded."""
    listed = server.client.get("/engines").json()["engines"]
    return {engine["name"] for engine in listed if engine["state"] == "READY"}


def ask(envoy: Envoy, name: str, path: str = "/v2/models/{name}/infer") -> httpx.Response:
    answer = envoy.client.post(path.format(name=name), json={"inputs": [INPUT]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == (FACTORS[name] * X).ravel().tolist()
    return answer


def homes(fleet: list[Server]) -> list[set[str]]:
    return [resident(server) for server in fleet]


def test_each_engine_is_loaded_by_one_server_and_each_server_loads_some(
    envoy: Envoy, fleet: list[Server]
) -> None:
    assert homes(fleet) == [set()] * SERVERS
    for first in range(SERVERS):  # in another order each time, so that no rotation passes for a hash
        for name in NAMES[first:] + NAMES[:first]:
            ask(envoy, name)
    loaded = homes(fleet)
    assert sorted(name for names in loaded for name in names) == sorted(NAMES)
    assert all(loaded)


def test_an_engine_has_the_same_home_by_every_path_and_over_grpc(envoy: Envoy, fleet: list[Server]) -> None:
    for name in NAMES:
        ask(envoy, name)
    before = homes(fleet)
    with grpc.insecure_channel(envoy.address) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for name in NAMES:
            ask(envoy, name, "/engines/{name}/infer")
            ask(envoy, name, "/v2/models/{name}/versions/1/infer?a=query")
            answer = service.ModelInfer(raw(name, X), metadata=(("model", name),))
            assert np.array_equal(only_output(answer), FACTORS[name] * X)
    assert homes(fleet) == before


def test_the_engines_of_a_server_that_is_gone_move_and_the_others_stay(
    envoy: Envoy, fleet: list[Server]
) -> None:
    for name in NAMES:
        ask(envoy, name)
    gone, *rest = fleet
    orphans, kept = resident(gone), homes(rest)
    gone.kill()
    for name in NAMES:
        ask(envoy, name)
    moved = homes(rest)
    assert set().union(*moved) == set(NAMES)
    for before, after in zip(kept, moved, strict=True):
        assert after - before <= orphans
        assert before <= after
    gone.start()  # for the fixture, which stops it


def test_only_requests_for_an_engine_by_its_name_are_passed_on(envoy: Envoy) -> None:
    assert envoy.client.get("/v2").status_code == 200
    assert envoy.client.get(f"/v2/models/{NAMES[0]}").status_code == 200
    for method, path in (
        ("POST", "/engines?name=new"),
        ("GET", "/engines"),
        ("GET", "/metrics"),
        ("DELETE", f"/engines/{NAMES[0]}"),
        ("POST", f"/v2/repository/models/{NAMES[0]}/unload"),
        ("POST", "/v2/systemsharedmemory/region/r/register"),
    ):
        answer = envoy.client.request(method, path)
        assert answer.status_code == 404, path
        assert "Ask a server itself" in answer.text
    hidden = envoy.client.get(f"/v2/models/{NAMES[0]}%2Fready")
    assert hidden.status_code == 400


def test_a_grpc_client_that_does_not_say_the_name_is_told_to(envoy: Envoy) -> None:
    with grpc.insecure_channel(envoy.address) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert "metadata `model`" in refusal(service.ModelInfer, raw(NAMES[0], X)).details()
