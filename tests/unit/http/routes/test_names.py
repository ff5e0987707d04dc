"""The routes of names, with a fake runtime."""

import asyncio

import httpx
import pytest

from tests.asgi import refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def upload(client: httpx.AsyncClient, seed: int, name: str | None = None) -> int:
    """Upload an engine; return its ID."""
    query = {"name": name} if name is not None else {}
    response = await client.post("/engines", params=query, content=onnx_plan(seed))
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


async def test_a_name_shows_its_versions_and_which_is_current(client: httpx.AsyncClient) -> None:
    first, second = await upload(client, 1, "net"), await upload(client, 2, "net")
    shown = (await client.get("/names/net")).json()
    ready = {"state": "READY", "reason": None}
    assert shown == {
        "name": "net",
        "current": 2,
        "versions": [{"version": 1, "id": first} | ready, {"version": 2, "id": second} | ready],
    }
    await upload(client, 3)
    assert (await client.get("/names")).json() == {"names": [shown]}


async def test_one_call_goes_back_to_the_previous_version(client: httpx.AsyncClient) -> None:
    first, _ = await upload(client, 1, "net"), await upload(client, 2, "net")
    moved = await client.put("/names/net", json={"current": 1})
    assert (moved.status_code, moved.json()["current"]) == (200, 1)
    assert moved.json() == (await client.get("/names/net")).json()
    assert (await client.get("/engines/net")).json()["id"] == first
    assert (await client.put("/names/net", json={"current": 2})).json()["current"] == 2


async def test_a_request_under_way_while_its_name_moves_is_answered_by_the_previous_version(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await upload(client, 1, "net")
    await upload(client, 2, "net")
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    runtime.hold()
    asked = asyncio.create_task(client.post("/engines/net/infer", json={"inputs": [x]}))
    await until(lambda: len(runtime.waiting) == 1)
    assert (await client.put("/names/net", json={"current": 1})).status_code == 200
    runtime.release()
    assert (await asked).json()["model_version"] == "2"
    assert (await client.post("/engines/net/infer", json={"inputs": [x]})).json()["model_version"] == "1"


async def test_a_version_that_fails_to_load_is_refused_and_shown_with_its_reason(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    first, _ = await upload(client, 1, "net"), await upload(client, 2, "net")
    assert (await client.post(f"/v2/repository/models/{first}/unload")).status_code == 200
    assert (await client.get("/names/net")).json()["versions"][0]["state"] == "UNLOADED"
    runtime.load_error = error("Unavailable", "The device is lost.")
    sentence = refused(await client.put("/names/net", json={"current": 1}), 503, "Unavailable")
    assert sentence == f"Engine {first} (net) could not be loaded: The device is lost."
    shown = (await client.get("/names/net")).json()
    assert shown["current"] == 2
    assert shown["versions"][0]["state"] == "FAILED"
    assert shown["versions"][0]["reason"] == "The device is lost."


async def test_an_unknown_name_or_version_is_refused(client: httpx.AsyncClient) -> None:
    id = await upload(client, 1, "net")
    expected = "There is no name 'nat'. There is: net."
    assert refused(await client.get("/names/nat"), 404, "NotFound") == expected
    assert refused(await client.put("/names/nat", json={"current": 1}), 404, "NotFound") == expected
    assert "no name" in refused(await client.get(f"/names/{id}"), 404, "NotFound")
    sentence = refused(await client.put("/names/net", json={"current": 2}), 404, "NotFound")
    assert sentence == "'net' has no version '2'. There is: 1."


@pytest.mark.parametrize(
    "version",
    [b"1", b"1.0", b"1e0"],
)
async def test_a_version_can_be_written_as_a_float(client: httpx.AsyncClient, version: bytes) -> None:
    await upload(client, 1, "net")
    await upload(client, 2, "net")
    answer = await client.put("/names/net", content=b'{"current": ' + version + b"}")
    assert (answer.status_code, answer.json()["current"]) == (200, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b"2",
        b'{"current": "1"}',
        b'{"current": 1.5}',
        b'{"current": 1e300}',
        b'{"current": true}',
        b'{"current": null}',
        b'{"current": 0}',
        b'{"current": 9223372036854775808}',
        b'{"current": 1, "name": "x"}',
        b'{"current": 1',
    ],
)
async def test_a_wrong_body_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    await upload(client, 1, "net")
    refused(await client.put("/names/net", content=body), 400, "InvalidInput")


async def test_the_refusal_of_a_body_names_the_value_and_the_allowed_ones(client: httpx.AsyncClient) -> None:
    await upload(client, 1, "net")
    sentence = refused(await client.put("/names/net", json={"current": "1"}), 400, "InvalidInput")
    assert "is {'current': '1'}; it is {\"current\": VERSION}" in sentence


async def test_a_body_that_is_too_large_or_compressed_is_refused(client: httpx.AsyncClient) -> None:
    await upload(client, 1, "net")
    refused(await client.put("/names/net", content=b" " * 70_000), 413, "TooLarge")
    encoded = await client.put("/names/net", content=b"{}", headers={"Content-Encoding": "br"})
    refused(encoded, 415, "InvalidInput")
