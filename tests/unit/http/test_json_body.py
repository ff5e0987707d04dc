"""Bodies that are JSON objects: all but the files in base64 must fit a limit."""

import base64
import json

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runtime_ext
from tests.asgi import refused
from tests.fakes.plans import onnx_plan
from trtserve.codec.tensor import MOST_DOCUMENT_BYTES
from trtserve.http.bodies import LEAST_FILE

LOAD = "/v2/repository/models/net/load"
TEXTS = st.text(st.sampled_from('aB9+/= "\\\n\té😀\u2028{}[]:,'), max_size=12)
DOCUMENTS = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


def plain(text: str, least: int) -> bool:
    return len(text) >= least and text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}


def strings(document: object) -> list[str]:
    match document:
        case str():
            return [document]
        case list():
            return [text for inner in document for text in strings(inner)]
        case dict():
            return [text for key, inner in document.items() for text in (key, *strings(inner))]
    return []


@given(DOCUMENTS, st.integers(0, 6), st.booleans())
def test_plain_strings_are_found_in_any_document(document: object, least: int, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only).encode()
    found = [text[begin:end].decode() for begin, end in runtime_ext.find_plain_strings(text, least)]
    assert found == [each for each in strings(document) if plain(each, least)]


@pytest.mark.parametrize("document", [b'"', b'"abc', b'"a\\', b'"a\\"', b'"\\', b"", b'""'])
def test_an_unterminated_string_is_not_found(document: bytes) -> None:
    assert runtime_ext.find_plain_strings(document, 1) == []


@pytest.mark.anyio
@pytest.mark.parametrize("padding", [0, 1, 2, 5_000, 3_000_001])
async def test_a_file_of_any_size_is_loaded_unchanged(client: httpx.AsyncClient, padding: int) -> None:
    plan = onnx_plan("x" * padding)
    parameters = {"file:1/model.onnx": base64.b64encode(plan).decode()}
    (await client.post(LOAD, json={"parameters": parameters})).raise_for_status()
    assert (await client.get("/engines/net")).json()["plan_bytes"] == len(plan)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 300_000 + b"{}]",
        b'{"parameters": {"x": [' + b"1," * 300_000 + b"1]}}",
        b'{"parameters": {' + b'"x": "", ' * 100_000 + b'"x": ""}}',
    ],
)
async def test_everything_but_files_is_limited_in_size(client: httpx.AsyncClient, body: bytes) -> None:
    sentence = refused(await client.post(LOAD, content=body), 413, "TooLarge")
    assert f"besides its files in base64; this server reads at most {MOST_DOCUMENT_BYTES}" in sentence


@pytest.mark.anyio
async def test_a_long_string_elsewhere_is_not_a_file(client: httpx.AsyncClient) -> None:
    long = "A" * LEAST_FILE
    response = await client.post(LOAD, content=orjson.dumps({"parameters": {long: 1}, "x": long}))
    assert "A load has no parameter" in refused(response, 400, "InvalidInput")
    response = await client.post(LOAD, content=orjson.dumps({"parameters": {"config": long}}))
    assert "config" in refused(response, 400, "InvalidInput")
