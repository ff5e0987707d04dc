"""Names, versions and the repository extension on a whole server, with the protocol's own client."""

import json
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.e2e.server import Server
from tests.seam.models import scaling
from tests.waiting import wait_until

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Distinct plans: y = factor * x for the factors 1 and 2."""
    folder = tmp_path_factory.mktemp("plans")
    return [scaling(folder / f"{factor}.onnx", factor).read_bytes() for factor in (1, 2)]


def client_of(server: Server) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(urlsplit(str(server.client.base_url)).netloc, network_timeout=120)


def states(client: triton.InferenceServerClient) -> dict[tuple[str, str], str]:
    index = client.get_model_repository_index()
    return {(model["name"], model["version"]): model["state"] for model in index}


def test_a_client_of_the_protocol_loads_lists_and_unloads_models(server: Server, plans: list[bytes]) -> None:
    client = client_of(server)
    config = json.dumps({"backend": "onnxruntime", "max_batch_size": 8, "dynamic_batching": {}})
    client.load_model("net", config=config, files={"file:1/model.onnx": plans[0], "file:3/m.onnx": plans[1]})
    assert states(client) == {("net", "1"): "READY", ("net", "3"): "READY"}
    answer = server.client.post("/engines/net/infer", json=BODY).json()
    assert (answer["model_version"], answer["outputs"][0]["data"][0]) == ("3", 2)
    assert server.client.get("/engines/net").json()["max_batch_size"] == 8

    client.unload_model("net", unload_dependents=True)
    assert set(states(client).values()) == {"UNAVAILABLE"}
    assert server.client.post("/engines/net/infer", json=BODY).status_code == 503
    client.load_model("net")
    assert server.client.post("/engines/net/infer", json=BODY).status_code == 200

    with pytest.raises(InferenceServerException, match="There is no engine 'nat'"):
        client.load_model("nat")
    with pytest.raises(InferenceServerException, match="ensemble_scheduling"):
        client.load_model("net", config='{"ensemble_scheduling": {}}')


def test_every_request_is_answered_by_one_version_while_its_name_moves(
    server: Server, plans: list[bytes]
) -> None:
    for plan in plans:
        server.client.post("/engines", params={"name": "net"}, content=plan).raise_for_status()
    stop = threading.Event()
    wrong: list[str] = []
    seen: set[str] = set()

    def ask() -> None:
        while not stop.is_set():
            answer = server.client.post("/engines/net/infer", json=BODY)
            if answer.status_code != 200:
                wrong.append(answer.text)
                return
            version = answer.json()["model_version"]
            seen.add(version)
            if answer.json()["outputs"][0]["data"][0] != float(version):  # version n multiplies by n
                wrong.append(answer.text)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        for turn in range(40):
            moved = server.client.put("/names/net", json={"current": 1 + turn % 2})
            assert moved.status_code == 200, moved.text
            answer = server.client.post("/engines/net/infer", json=BODY).json()
            assert answer["model_version"] == str(1 + turn % 2)  # an acknowledged move takes effect at once
        wait_until(lambda: bool(seen or wrong), "an answer")
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert wrong == []
    assert seen
    assert seen <= {"1", "2"}


def test_unloads_and_moves_survive_a_kill(tmp_path: Path, plans: list[bytes]) -> None:
    with Server(tmp_path / "store") as server:
        for plan in plans:
            server.client.post("/engines", params={"name": "net"}, content=plan).raise_for_status()
        server.client.put("/names/net", json={"current": 1}).raise_for_status()
        unloaded = server.client.get("/names/net").json()["versions"][1]["id"]
        server.client.post(f"/v2/repository/models/{unloaded}/unload").raise_for_status()
        server.kill()
        server.start()
        server.wait_until_ready()
        shown = server.client.get("/names/net").json()
        assert shown["current"] == 1
        assert [version["state"] for version in shown["versions"]] == ["READY", "UNLOADED"]
        server.client.put("/names/net", json={"current": 2}).raise_for_status()
        answer = server.client.post("/engines/net/infer", json=BODY).json()
        assert (answer["model_version"], answer["outputs"][0]["data"][0]) == ("2", 2)
