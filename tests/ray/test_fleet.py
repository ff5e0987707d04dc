"""The Ray Serve application on a real Ray, with two replicas: in the order of the life of a fleet."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray", reason="needs Ray: run make ray-test")

from tests.ray.cluster import Cluster
from tests.seam.models import scaling, slow
from tests.waiting import wait_until
from trtserve.errors import NotFound
from trtserve.ray.shared_plans import publish

X = np.arange(4, dtype=np.float32).reshape(1, 4)
INPUTS = {"inputs": [{"name": "x", "shape": X.shape, "datatype": "FP32", "data": X.ravel().tolist()}]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def digests(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the plans in the shared folder: y = 2x, y = 3x, and one that takes long."""
    folder = tmp_path_factory.mktemp("models")
    made = {
        "double": scaling(folder / "double.onnx", 2.0),
        "triple": scaling(folder / "triple.onnx", 3.0),
        "slow": slow(folder / "slow.onnx"),
    }
    return {name: publish(path, str(cluster.plans)) for name, path in made.items()}


@pytest.fixture
def fleet(cluster: Cluster, digests: dict[str, str]) -> Cluster:
    """Two replicas that serve y = 2x as `net`."""
    cluster.deploy({"net": {"sha256": digests["double"]}}, num_replicas=2)
    wait_until(lambda: len(cluster.replicas()) == 2, "two replicas")
    return cluster


def asked(cluster: Cluster, factor: float | None = None) -> dict[str, Any]:
    """The answer over HTTP."""
    answer = cluster.client.post("/v2/models/net/infer", json=INPUTS)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    if factor is not None:
        assert document["outputs"][0]["data"] == (factor * X).ravel().tolist()
    return document


def test_replicas_have_stores_of_their_own_and_answer_over_http_and_by_handle(
    fleet: Cluster, digests: dict[str, str]
) -> None:
    assert list(fleet.stored().values()) == [{digests["double"]}] * 2
    assert len(set(fleet.replicas().values())) == 2
    for _ in range(10):
        assert asked(fleet, 2)["model_version"] == "1"
        assert np.array_equal(fleet.handle.infer.remote("net", x=X).result()["y"], 2 * X)
    with pytest.raises(NotFound, match="There is no engine 'other'"):
        fleet.handle.infer.remote("other", {"x": X}).result()


def test_no_client_can_change_a_single_replica(fleet: Cluster) -> None:
    answer = fleet.client.delete("/engines/net")
    assert answer.status_code == 403
    assert "user_config" in answer.json()["error"]


def test_an_update_by_name_reaches_all_replicas_and_no_request_fails(
    fleet: Cluster, digests: dict[str, str]
) -> None:
    factors: set[float] = set()
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                factors.add(asked(fleet)["outputs"][0]["data"][1])
        except BaseException as failure:
            failures.append(failure)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        fleet.deploy({"net": {"sha256": digests["triple"], "version": 2}}, num_replicas=2)
        wait_until(lambda: set().union(*fleet.stored().values()) == {digests["triple"]}, "the new plan alone")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert failures == []
    assert factors == {2.0, 3.0}
    for _ in range(10):
        assert asked(fleet, 3)["model_version"] == "2"


def test_an_update_that_cannot_be_loaded_leaves_a_replica_that_answers(
    fleet: Cluster, digests: dict[str, str]
) -> None:
    fleet.submit({"net": {"sha256": "0" * 64, "version": 2}}, num_replicas=2)
    wait_until(lambda: f"{'0' * 64} cannot be read" in fleet.message(), "the reason")
    for _ in range(10):
        assert asked(fleet, 2)["model_version"] == "1"
    fleet.deploy({"net": {"sha256": digests["triple"], "version": 3}}, num_replicas=2)
    assert asked(fleet, 3)["model_version"] == "3"


def test_a_replica_that_was_killed_is_replaced(fleet: Cluster, digests: dict[str, str]) -> None:
    before = fleet.replicas()
    name, process = next(iter(before.items()))
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: fleet.replicas().get(name, process) != process, "another process with its store")
    wait_until(lambda: fleet.stored().get(name) == {digests["double"]}, "its plan")
    asked(fleet, 2)


def test_a_fleet_grows_with_its_queue(cluster: Cluster, digests: dict[str, str]) -> None:
    scaling_config = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": 2,
        "upscale_delay_s": 0.1,
        "downscale_delay_s": 0.5,
        "metrics_interval_s": 0.1,
        "look_back_period_s": 0.5,
    }
    cluster.deploy({"slow": {"sha256": digests["slow"]}}, autoscaling_config=scaling_config)
    wait_until(lambda: len(cluster.replicas()) == 1, "one replica")
    x = np.ones((256, 512), np.float32)
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            cluster.handle.infer.remote("slow", x=x).result()

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: len(cluster.replicas()) == 2, "a second replica")
    finally:
        stop.set()
        for client in clients:
            client.join()


def test_an_application_that_is_deleted_leaves_nothing_on_the_disk(fleet: Cluster) -> None:
    from ray import serve

    serve.delete("models")
    wait_until(lambda: fleet.replicas() == {}, "the end of the replicas")
    assert [path.name for path in fleet.stores.rglob("*") if path.is_file()] == ["LOCK", "LOCK"]


def test_the_plans_are_where_they_were(cluster: Cluster, digests: dict[str, str]) -> None:
    assert {path.name for path in Path(cluster.plans).iterdir()} == set(digests.values())
