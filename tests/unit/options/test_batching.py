"""The batch options of an upload, and their effect."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic_core import PydanticCustomError

from runtime_ext import AUTO_BATCH_SIZE, AUTO_DELAY
from tests.asgi import refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import loaded, serving
from trtserve.errors import InvalidInput
from trtserve.options.batching import canonical_dims, canonical_sizes, read_dims, read_sizes
from trtserve.settings import Settings

anyio = pytest.mark.anyio

ASKED = {
    "max_batch_size": 8,
    "max_queue_delay_us": "auto",
    "latency_target_us": 4000,
    "preferred_batch_sizes": "8,4",
    "batch_dims": "y:1,x:1",
}


# -- the lists as text


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("4,8", [4, 8]), ("8,4,8", [4, 8]), ("1", [1]), (" 16 , 2 ", [2, 16]), ("65536", [65536]), ("", [])],
)
def test_sizes_are_read_in_any_order(text: str, sizes: list[int]) -> None:
    assert read_sizes(canonical_sizes(text)) == sizes


@pytest.mark.parametrize("part", ["", "0", "-4", "4.0", "four", "65537", "²", "4;8", "9" * 5000])
def test_a_malformed_size_is_refused(part: str) -> None:
    with pytest.raises(PydanticCustomError) as refusal:
        canonical_sizes(f"4,{part},8")
    explanation = refusal.value.message()
    assert explanation.startswith("Input should be sizes from 1 to 65536 with commas between them")
    assert explanation.endswith(f"{part!r} is not one")


@pytest.mark.parametrize(
    ("text", "dims"),
    [
        ("x:1,y:1", {"x": 1, "y": 1}),
        ("y:0, x:63", {"x": 63, "y": 0}),
        ("serving_default:0:1", {"serving_default:0": 1}),
        ("a:b:c:2,:::3", {"a:b:c": 2, "::": 3}),
        ("", {}),
    ],
)
def test_the_dimension_follows_the_last_colon(text: str, dims: dict[str, int]) -> None:
    assert read_dims(canonical_dims(text)) == dims


@pytest.mark.parametrize(
    "part", ["", "x", "x:", ":1", "x:-1", "x:64", "x:²", "x:1:", "x:one", "x:" + "1" * 5000]
)
def test_a_malformed_batch_dimension_is_refused(part: str) -> None:
    with pytest.raises(PydanticCustomError) as refusal:
        canonical_dims(f"a:1,{part}")
    explanation = refusal.value.message()
    assert explanation.startswith("Input should be tensors with their batch dimension, 0 to 63")
    assert explanation.endswith(f"{part!r} is not one")


def test_a_tensor_has_one_batch_dimension() -> None:
    with pytest.raises(PydanticCustomError, match="'x' came twice"):
        canonical_dims("x:1,y:1,x:0")


@given(some.dictionaries(some.text(min_size=1), some.integers(0, 63)))
def test_every_name_without_a_comma_is_read(dims: dict[str, int]) -> None:
    dims = {name: dim for name, dim in dims.items() if "," not in name and name == name.strip()}
    text = ",".join(f"{name}:{dim}" for name, dim in dims.items())
    canonical = canonical_dims(text)
    assert read_dims(canonical) == dims
    assert canonical_dims(canonical) == canonical


# -- an upload


@anyio
async def test_batch_options_are_requested_stored_and_shown(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    response = await client.post("/engines", params=ASKED, content=onnx_plan())
    assert response.status_code == 201, response.text
    shown = {option: response.json()[option] for option in ASKED}
    assert shown == ASKED | {"preferred_batch_sizes": [4, 8], "batch_dims": {"x": 1, "y": 1}}
    batch = runtime.loads[0][3].batch
    assert (batch.max_batch_size, batch.max_queue_delay_us) == (8, AUTO_DELAY)
    assert batch.latency_target_us == 4000
    assert (batch.preferred_batch_sizes, batch.batch_dims) == ([4, 8], {"x": 1, "y": 1})


@anyio
async def test_a_fixed_delay_is_a_number(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    engine = (
        await client.post("/engines?max_batch_size=8&max_queue_delay_us=250", content=onnx_plan())
    ).json()
    assert engine["max_queue_delay_us"] == 250
    assert runtime.loads[0][3].batch.max_queue_delay_us == 250


@anyio
async def test_without_batch_options_the_load_decides_whether_requests_are_joined(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await client.post("/engines", content=onnx_plan())
    batch = runtime.loads[0][3].batch
    assert (batch.max_batch_size, batch.max_queue_delay_us) == (AUTO_BATCH_SIZE, 0)
    assert (batch.preferred_batch_sizes, batch.batch_dims) == ([], {})


@anyio
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("max_queue_delay_us=soon", "from 0 to 10000000, or 'auto'."),
        ("max_queue_delay_us=10000001", "from 0 to 10000000, or 'auto'."),
        ("preferred_batch_sizes=4,x", "from 1 to 65536 with commas between them, as 4,8; 'x' is not one."),
        ("batch_dims=x:1,y", "as x:1,y:1; 'y' is not one."),
        ("batch_dims={a}", "as x:1,y:1; '{a}' is not one."),
    ],
)
async def test_a_wrong_value_is_refused_with_what_is_allowed(
    client: httpx.AsyncClient, query: str, sentence: str
) -> None:
    explanation = refused(await client.post(f"/engines?{query}", content=onnx_plan()), 400, "InvalidInput")
    name, _, value = query.partition("=")
    assert explanation.startswith(f"The query parameter {name!r} is {value!r}: Input should be ")
    assert explanation.endswith(sentence)


@anyio
async def test_an_engine_that_cannot_be_batched_is_refused_with_the_cores_sentence(
    client: httpx.AsyncClient, runtime: FakeRuntime, settings: Settings
) -> None:
    runtime.load_error = error("InvalidInput", "max_batch_size is 8, but input 'x' is fixed in dimension 0")
    response = await client.post("/engines?name=net&max_batch_size=8", content=onnx_plan())
    assert "input 'x' is fixed in dimension 0" in refused(response, 400, "InvalidInput")
    assert (await client.get("/engines")).json() == {"engines": []}
    assert [file for part in ("incoming", "plans") for file in (settings.store / part).iterdir()] == []


@anyio
async def test_the_same_plan_with_other_batch_options_changes_them(client: httpx.AsyncClient) -> None:
    first = await client.post("/engines", params=ASKED, content=onnx_plan())
    again = await client.post("/engines", params=ASKED | {"batch_dims": "x:1,y:1"}, content=onnx_plan())
    assert (again.status_code, again.json()) == (200, first.json())  # equal, in another order
    assert (await client.post("/engines?preferred_batch_sizes=4,8", content=onnx_plan())).status_code == 200

    for query, option, value in (
        ("max_batch_size=9", "max_batch_size", 9),
        ("max_queue_delay_us=0", "max_queue_delay_us", 0),
        ("preferred_batch_sizes=2", "preferred_batch_sizes", [2]),
        ("batch_dims=", "batch_dims", {}),
    ):
        response = await client.post(f"/engines?{query}", content=onnx_plan())
        assert (response.status_code, response.json()[option]) == (200, value)


@anyio
async def test_impossible_sizes_are_refused_before_a_load(settings: Settings) -> None:
    async with serving(settings) as server:
        with pytest.raises(InvalidInput, match=r"size 4 is over max_batch_size, 1: .* of 8 or more"):
            await server.add(onnx_plan(), "net", preferred_batch_sizes="4,8", max_batch_size=1)
        assert (server.runtime.loads, server.files(), server.registry.engines()) == ([], [], [])
        await server.add(onnx_plan(), "net", preferred_batch_sizes="4,8", max_batch_size=8)


@anyio
async def test_after_a_restart_an_engine_is_batched_as_before(settings: Settings) -> None:
    asked: dict[str, Any] = ASKED | {"preferred_batch_sizes": "4,8", "batch_dims": "x:1"}
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", **asked)
        before = server.runtime.loads[0][3]
    async with serving(settings) as server:
        await loaded(server)
        assert server.runtime.loads[0][3] == before
