"""PATCH /engines/{ref}: other options for an engine that serves."""

import json
from typing import Any

import httpx
import pytest

from tests.asgi import refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def patch(client: httpx.AsyncClient, options: Any, query: str = "", **headers: str) -> httpx.Response:
    headers |= {"Content-Type": "application/merge-patch+json"}
    return await client.patch(f"/engines/net{query}", content=json.dumps(options), headers=headers)


@pytest.fixture(autouse=True)
async def net(client: httpx.AsyncClient) -> None:
    await client.post("/engines?name=net&instances=2&max_batch_size=4", content=onnx_plan())


async def test_options_that_are_given_change_and_others_stay(client: httpx.AsyncClient) -> None:
    answer = await patch(client, {"max_batch_size": 8, "preferred_batch_sizes": "4,8"})
    assert answer.status_code == 200, answer.text
    engine = answer.json()
    assert (engine["max_batch_size"], engine["preferred_batch_sizes"], engine["instances"]) == (8, [4, 8], 2)
    assert engine["change"] == {
        "options": {"max_batch_size": 8, "preferred_batch_sizes": "4,8"},
        "state": "DONE",
        "reason": None,
    }
    assert (await client.get("/engines/net")).json() == engine


async def test_null_stands_for_what_the_server_would_decide(client: httpx.AsyncClient) -> None:
    left_out = (await client.get("/options")).json()
    assert (await patch(client, {"max_batch_size": None, "max_queue_size": 9})).status_code == 200
    engine = (await patch(client, {"max_queue_size": None})).json()
    assert engine["max_queue_size"] == left_out["max_queue_size"]
    assert engine["instances"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_batch": 8}, "There is no option 'max_batch'; there are: instances, max_queue_size,"),
        ({"instances": "many"}, "The option 'instances' is 'many': "),
        ({"instances": 1000}, "The option 'instances' is 1000: "),
        ({"max_queue_delay_us": "never"}, "The option 'max_queue_delay_us' is 'never': "),
        ({"profile": ["x:1x4"]}, "Profile is an option of the build of a plan"),
        ({"precision": "int8"}, "Precision is int8, which only a plan has that is built here"),
        ({"preferred_batch_sizes": "8"}, "The preferred batch size 8 is over max_batch_size, 4"),
        ([1], "it must be a JSON object"),
    ],
)
async def test_what_is_no_option_is_refused_as_in_an_upload(
    client: httpx.AsyncClient, runtime: FakeRuntime, options: Any, words: str
) -> None:
    assert words in refused(await patch(client, options), 400, "InvalidInput")
    assert len(runtime.loads) == 1


async def test_an_unknown_engine_has_no_options(client: httpx.AsyncClient) -> None:
    refused(await client.patch("/engines/none", json={"instances": 3}), 404, "NotFound")


async def test_a_change_that_fails_is_told_and_shown(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.refuses = lambda options: options.instances == 3
    sentence = refused(await patch(client, {"instances": 3}), 400, "InvalidInput")
    assert "serves on with its former options" in sentence
    engine = (await client.get("/engines/net")).json()
    assert (engine["state"], engine["instances"]) == ("READY", 2)
    assert (engine["change"]["state"], engine["change"]["reason"]) == ("FAILED", sentence)


async def test_a_client_that_does_not_wait_sees_how_far_the_change_is(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.load_gate.clear()
    answer = await patch(client, {"instances": 3}, Prefer="respond-async")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async")
    engine = answer.json()
    assert answer.headers["Location"] == f"/engines/{engine['id']}"
    assert engine["instances"] == 2
    await until(lambda: len(runtime.loads) == 2)
    assert (await client.get("/engines/net")).json()["change"]["state"] == "LOADING"
    runtime.load_gate.set()

    async def done() -> httpx.Response:
        return await patch(client, {}, Prefer="respond-async, wait=60")

    assert (await done()).status_code == 200
    assert (await client.get("/engines/net")).json()["instances"] == 3


async def test_a_change_in_place_unloads_first(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    id = (await client.get("/engines/net")).json()["id"]
    answer = await patch(client, {"instances": 3}, "?in_place=true")
    assert (answer.status_code, answer.json()["instances"]) == (200, 3)
    assert [place for place, _ in runtime.unloads] == [id]
    assert [load[0] for load in runtime.loads] == [id, id]


async def test_requests_go_to_the_options_that_serve(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    for instances in (2, 3):
        await patch(client, {"instances": instances})
        for _ in range(3):  # alike requests share what they say
            answer = await client.post("/v2/models/net/infer", json={"inputs": [x]})
            assert answer.status_code == 200, answer.text
    assert [info.instances for info in runtime.takers.values()] == [2, 2, 2, 3, 3, 3]
