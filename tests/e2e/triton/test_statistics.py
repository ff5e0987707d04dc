"""Statistics as the clients read them: consistent, and in agreement with /metrics."""

from functools import partial

import pytest
from tritonclient.utils import InferenceServerException

from tests.e2e.server import Server
from tests.e2e.triton.clients import (
    EVERYWHERE,
    TritonClient,
    X,
    doubled,
    refused,
    upload,
)


@EVERYWHERE
def test_get_inference_statistics(client: TritonClient) -> None:
    for _ in range(3):
        doubled(client)
    for arguments in ((), ("net",), ("net", "1")):
        (stats,) = client.call("get_inference_statistics", *arguments)["model_stats"]
        assert (stats["name"], stats["version"]) == ("net", "1")
        assert int(stats["inference_stats"]["success"]["count"]) == 3
        assert int(stats["inference_stats"]["success"]["ns"]) > 0
        assert int(stats["execution_count"]) == 3
        # With max_batch_size 0 in its configuration, a request is one inference, whatever its shape.
        assert int(stats["inference_count"]) == 3
        assert int(stats["last_inference"]) > 0
    assert "There is no" in refused(client, "get_inference_statistics", "nobody").message()


@EVERYWHERE
def test_statistics_are_consistent_and_agree_with_metrics(
    client: TritonClient, server: Server, plans: dict[int, bytes]
) -> None:
    upload(server, plans[3], name="joined", max_batch_size=4)
    for x in (X, X[:1], X):
        client.infer("joined", [client.input("x", x)])
    with pytest.raises(InferenceServerException):
        client.infer("joined", [client.input("x", X[:, :3].copy())])
    (stats,) = client.call("get_inference_statistics", "joined")["model_stats"]
    assert (int(stats["inference_count"]), int(stats["execution_count"])) == (5, 3)
    timed = {
        name: (int(d.get("count", 0)), int(d.get("ns", 0))) for name, d in stats["inference_stats"].items()
    }
    phases = ("compute_input", "compute_infer", "compute_output")
    assert [timed[each][0] for each in ("success", "queue", *phases)] == [3] * 5
    assert timed["success"][1] == timed["queue"][1] + sum(timed[phase][1] for phase in phases)
    assert timed["fail"][0] == 1
    assert timed["cache_hit"] == timed["cache_miss"] == (0, 0)
    batches = {int(batch["batch_size"]): batch for batch in stats["batch_stats"]}
    assert {size: int(batch["compute_infer"]["count"]) for size, batch in batches.items()} == {1: 1, 2: 2}
    for phase in phases:
        assert sum(int(batch[phase]["ns"]) for batch in batches.values()) == timed[phase][1]
    metric = partial(server.metric, engine="joined")
    assert metric("trtserve_request_total_seconds_count") == 3
    assert metric("trtserve_batch_items_sum") == 5
    for name, phase in (("queue_seconds_sum", "queue"), ("failed_seconds_sum", "fail")):
        assert round(metric(f"trtserve_request_{name}") * 1e9) == timed[phase][1]
    for phase in phases:
        assert round(metric(f"trtserve_request_{phase}_seconds_total") * 1e9) == timed[phase][1]
