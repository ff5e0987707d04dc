"""The clients' `class_count`: classes instead of a tensor, over HTTP and gRPC."""

import asyncio
import json
import queue
from typing import Any

import numpy as np
import pytest

from tests.e2e.server import Server
from tests.e2e.triton.clients import EVERYWHERE, GRPC, HTTP, TritonClient, X, refused, upload

LABELS = json.dumps({"y": ["cat", "dog", "cow"]})
SCORES = np.array([[0.5, 4, -1, 2], [8, 1, 2, 4]], np.float32)  # the model doubles them


def asked(client: TritonClient, count: int, **how: Any) -> list[Any]:
    return [client.module.InferRequestedOutput("y", class_count=count, **how)]


@EVERYWHERE
def test_a_joined_model_answers_with_the_best_classes_of_each_item(
    client: TritonClient, server: Server, plans: dict[int, bytes]
) -> None:
    upload(server, plans[3], name="labelled", max_batch_size=8, labels=LABELS)
    inputs = [client.input("x", SCORES)]
    y = client.infer("labelled", inputs, outputs=asked(client, 2)).as_numpy("y")
    assert y.shape == (2, 2)
    assert y.tolist() == [[b"12.000000:1:dog", b"6.000000:3"], [b"24.000000:0:cat", b"12.000000:3"]]
    tensor = client.infer("labelled", inputs, outputs=asked(client, 0)).as_numpy("y")
    np.testing.assert_array_equal(tensor, 3 * SCORES)


@EVERYWHERE
def test_a_model_without_a_batch_answers_with_the_best_classes_of_the_whole_tensor(
    client: TritonClient,
) -> None:
    for _ in range(3):  # the third may be like those before it
        y = client.infer("net", [client.input("x", SCORES)], outputs=asked(client, 3)).as_numpy("y")
        assert y.tolist() == [b"16.000000:4", b"8.000000:1", b"8.000000:7"]


@HTTP
def test_classes_come_as_json_too(client: TritonClient) -> None:
    tensor = client.input("x", SCORES, binary_data=False)
    for _ in range(3):
        result = client.infer("net", [tensor], outputs=asked(client, 1, binary_data=False))
        assert result.get_output("y")["data"] == ["16.000000:4"]


@GRPC
def test_a_stream_answers_with_classes(client: TritonClient) -> None:
    inputs, outputs = [client.input("x", SCORES)], asked(client, 1)
    if client.kind == "grpc":
        answers: queue.Queue[Any] = queue.Queue()
        client.client.start_stream(lambda result, error: answers.put((result, error)))
        client.client.async_stream_infer("net", inputs, outputs=outputs)
        result, error = answers.get(timeout=60)
        client.client.stop_stream()
    else:

        async def requests() -> Any:
            yield {"model_name": "net", "inputs": inputs, "outputs": outputs}

        async def first() -> Any:
            return await anext(aiter(client.client.stream_infer(requests())))

        result, error = client.run(asyncio.wait_for(first(), 60))
    assert error is None
    assert result.as_numpy("y").tolist() == [b"16.000000:4"]


@EVERYWHERE
def test_a_wrong_number_of_classes_is_refused(client: TritonClient) -> None:
    error = refused(client, "infer", "net", [client.input("x", X)], outputs=asked(client, -1))
    assert "classification of output 'y' is -1" in error.message()


@pytest.mark.parametrize("labels", ["{", '["cat"]'])
def test_wrong_labels_are_refused_with_an_example(
    server: Server, plans: dict[int, bytes], labels: str
) -> None:
    answer = server.client.post("/engines", params={"labels": labels}, content=plans[3])
    assert answer.status_code == 400
    assert '{"y":["cat","dog"]}' in answer.json()["error"]
