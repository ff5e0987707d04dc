"""Strings of the clients: a module that takes and returns BYTES, in every form of a request."""

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tritonclient.utils import serialize_byte_tensor, shared_memory

from tests.e2e.server import Server
from tests.e2e.triton.clients import EVERYWHERE, GRPC, HTTP, SHARED, TritonClient, refused
from tests.jpeg import NEEDS_JPEG

WORDS = np.array(["cat", "", "Vögel"], np.object_)
UPPER = [b"CAT", b"", "VöGEL".encode()]  # TorchScript changes ASCII only


class Upper(torch.nn.Module):
    def forward(self, x: list[str]) -> list[str]:
        return [text.upper() for text in x]


class Shapes(torch.nn.Module):
    """The height and width of JPEG files."""

    def forward(self, x: list[torch.Tensor]) -> list[str]:
        shapes: list[str] = []
        for file in x:
            picture = torch.ops.trt.decode_jpeg(file)
            shapes.append(str(picture.size(1)) + "x" + str(picture.size(2)))
        return shapes


def serve(
    server: Server, module: torch.nn.Module, name: str, x: dict[str, Any] | None = None, **options: Any
) -> None:
    tensor = {"datatype": "BYTES", "shape": [-1]}
    described = {"inputs": [x or tensor | {"name": "x"}], "outputs": [tensor | {"name": "y"}]}
    archive = io.BytesIO()
    torch.jit.save(torch.jit.script(module), archive, _extra_files={"trtserve.json": json.dumps(described)})
    query = {"name": name, **options}
    server.client.post("/modules", params=query, content=archive.getvalue()).raise_for_status()


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 90)).save(file, "JPEG")
    return file.getvalue()


@EVERYWHERE
def test_strings_go_in_and_out(client: TritonClient, server: Server) -> None:
    serve(server, Upper(), "upper", max_batch_size=8)
    for words in (WORDS, WORDS[:1], WORDS[::-1].copy(), np.array(["x" * 100_000], np.object_)):
        y = client.infer("upper", [client.input("x", words, "BYTES")]).as_numpy("y")
        assert y.tolist() == [word.encode().upper() for word in words]
    metadata = client.call("get_model_metadata", "upper")
    assert [metadata[way][0]["datatype"] for way in ("inputs", "outputs")] == ["BYTES", "BYTES"]
    config = client.call("get_model_config", "upper")
    assert config.get("config", config)["input"][0]["data_type"] == "TYPE_STRING"


@EVERYWHERE
def test_strings_that_are_no_text_are_refused_where_a_module_takes_text(
    client: TritonClient, server: Server
) -> None:
    serve(server, Upper(), "upper")
    words = np.array([b"fine", b"\xff"], np.object_)
    message = refused(client, "infer", "upper", [client.input("x", words, "BYTES")]).message()
    assert "element 1 is not UTF-8; the engine takes text" in message


@HTTP
def test_strings_are_json_too(client: TritonClient, server: Server) -> None:
    serve(server, Upper(), "upper")
    tensor = client.input("x", WORDS, "BYTES", binary_data=False)
    asked = [client.module.InferRequestedOutput("y", binary_data=False)]
    for _ in range(3):
        assert client.infer("upper", [tensor], outputs=asked).get_output("y")["data"] == [
            text.decode() for text in UPPER
        ]


@GRPC
def test_strings_may_be_contents_of_a_message(client: TritonClient, server: Server) -> None:
    serve(server, Upper(), "upper")
    tensor = client.input("x", WORDS, "BYTES")
    tensor._get_tensor().contents.bytes_contents.extend([word.encode() for word in WORDS])
    tensor._raw_content = None
    assert client.infer("upper", [tensor]).as_numpy("y").tolist() == UPPER


@NEEDS_JPEG
@EVERYWHERE
def test_photographs_are_decoded(client: TritonClient, server: Server) -> None:
    serve(server, Shapes(), "shapes", max_batch_size=4)
    files = np.array([jpeg(40, 30), jpeg(7, 9)], np.object_)
    y = client.infer("shapes", [client.input("x", files, "BYTES")]).as_numpy("y")
    assert y.tolist() == [b"30x40", b"9x7"]
    broken = np.array([jpeg(40, 30)[:-100]], np.object_)
    message = refused(client, "infer", "shapes", [client.input("x", broken, "BYTES")]).message()
    assert "no JPEG that can be decoded" in message


class Repeated(torch.nn.Module):
    """As many letters as each number says."""

    def forward(self, x: torch.Tensor) -> list[str]:
        numbers: list[int] = x.tolist()
        return ["".ljust(number, "a") for number in numbers]


@EVERYWHERE
def test_answers_with_strings_of_other_lengths_are_not_taken_for_alike(
    client: TritonClient, server: Server
) -> None:
    x = {"name": "x", "datatype": "INT64", "shape": [-1]}
    serve(server, Repeated(), "repeated", x)
    for number in (3, 1000, 0, 7):
        tensor = client.input("x", np.array([number, 2]), "INT64")
        y = client.infer("repeated", [tensor]).as_numpy("y")
        assert y.tolist() == [b"a" * number, b"aa"]


@EVERYWHERE
@pytest.mark.parametrize("long", [0, 100_000])
def test_strings_may_be_in_shared_memory(client: TritonClient, server: Server, long: int) -> None:
    serve(server, Upper(), "upper")
    words = np.array([*WORDS[:2], "x" * long], np.object_)
    key = f"/{SHARED}strings"
    size = sum(4 + len(word.encode()) for word in words)
    handle = shared_memory.create_shared_memory_region("strings", key, 400_000, create_only=True)
    try:
        shared_memory.set_shared_memory_region(handle, [serialize_byte_tensor(words)])
        client.call("register_system_shared_memory", "r", key, 400_000)
        tensor = client.module.InferInput("x", [3], "BYTES")
        tensor.set_shared_memory("r", size)
        asked = client.module.InferRequestedOutput("y")
        asked.set_shared_memory("r", 150_000, 200_000)
        client.infer("upper", [tensor], outputs=[asked])
        found = shared_memory.get_contents_as_numpy(handle, np.object_, [3], 200_000)
        assert found.tolist() == [b"CAT", b"", b"X" * long]
    finally:
        shared_memory.destroy_shared_memory_region(handle)


@NEEDS_JPEG
def test_a_photograph_alone_may_be_the_body(server: Server) -> None:
    serve(server, Shapes(), "shapes")
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    for size in ((40, 30), (8, 8), (8, 8)):
        answer = server.client.post("/modules/shapes/infer", content=jpeg(*size), headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.content.endswith(f"{size[1]}x{size[0]}".encode())


@pytest.mark.parametrize("data", [["a", 1], ["a"], [["a", "b"]]])
def test_wrong_strings_are_refused_in_plain_words(server: Server, data: Any) -> None:
    serve(server, Upper(), "upper")
    tensor = {"name": "x", "datatype": "BYTES", "shape": [2], "data": data}
    answer = server.client.post("/modules/upper/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400
    assert "'x'" in answer.json()["error"]
