"""Train a LeNet, upload it to a running service, and check that HTTP answers what PyTorch answers.

    python examples/lenet_digits/main.py --server http://127.0.0.1:8000

Exits 1 when the accuracy over HTTP is not PyTorch's. Leaves the model in lenet.onnx beside this file.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import safetensors.torch
import torch
import train
from torch import Tensor

MODEL = Path(__file__).with_name("lenet.onnx")
CHUNK = 64 * 1024
METRICS = (
    "trtserve_engine_load_seconds",
    "trtserve_requests_total",
    "trtserve_request_queue_seconds_sum",
    "trtserve_request_compute_seconds_sum",
)


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


def chunks(path: Path) -> Iterator[bytes]:
    """The file piece by piece, as the service stores it, with the progress on stderr."""
    size, sent = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
            sent += len(chunk)
            progress = f"\r   {sent / 1024:.0f} of {size / 1024:.0f} KiB sent"
            print(progress, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def upload(client: httpx.Client, path: Path, name: str) -> dict:
    """POST /engines: the plan is the body; the answer comes when the engine is ready."""
    answer = client.post(
        "/engines",
        params={"name": name},
        content=chunks(path),
        headers={"Content-Length": str(path.stat().st_size)},
    )
    return checked(answer).json()


def infer_json(client: httpx.Client, name: str, image: Tensor) -> Tensor:
    """The Open Inference Protocol's JSON form: for people and for small tensors."""
    x = {"name": "x", "shape": list(image.shape), "datatype": "FP32", "data": image.flatten().tolist()}
    answer = checked(client.post(f"/engines/{name}/infer", json={"inputs": [x]}))
    (output,) = answer.json()["outputs"]
    return torch.tensor(output["data"]).reshape(output["shape"])


def infer_binary(client: httpx.Client, name: str, image: Tensor) -> Tensor:
    """The Open Inference Protocol's binary form: a JSON header, then the tensors' bytes."""
    data = image.numpy().tobytes()
    x = {
        "name": "x",
        "shape": list(image.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    header = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}}).encode()
    answer = checked(
        client.post(
            f"/engines/{name}/infer",
            content=header + data,
            headers={
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(len(header)),
            },
        )
    )
    split = int(answer.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(answer.content[:split])["outputs"]
    return torch.frombuffer(bytearray(answer.content[split:]), dtype=torch.float32).reshape(output["shape"])


def infer_safetensors(client: httpx.Client, name: str, images: Tensor) -> Tensor:
    """Safetensors in and out: one line on each side for anyone with torch."""
    answer = client.post(
        f"/engines/{name}/infer",
        content=safetensors.torch.save({"x": images}),
        headers={"Content-Type": "application/x-safetensors"},
    )
    return safetensors.torch.load(checked(answer).content)["logits"]


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, or an exit with the service's error message."""
    if answer.is_error:
        sys.exit(f"error: {answer.status_code}: {answer.json()['error']}")
    return answer


def one_by_one(client: httpx.Client, name: str, images: Tensor) -> tuple[Tensor, np.ndarray]:
    """The logits [N, 10] of one request per image, and each request's seconds [N] as the client sees them."""
    logits, seconds = [], []
    for image in images.split(1):
        start = time.perf_counter()
        logits.append(infer_binary(client, name, image))
        seconds.append(time.perf_counter() - start)
    return torch.cat(logits), np.array(seconds)


def report(data: train.Digits, torch_logits: Tensor, answers: dict[str, Tensor]) -> bool:
    """Print a line for each kind of request; true if every prediction rate equals PyTorch's."""

    def accuracy(logits: Tensor) -> float:
        return (logits.argmax(1) == data.test_labels[: len(logits)]).float().mean().item()

    print(f"{'':34}{'images':>8}{'accuracy':>11}{'max |logit - PyTorch|':>25}")
    print(f"{'PyTorch':34}{len(torch_logits):>8}{accuracy(torch_logits):>11.4%}")
    agree = True
    for way, logits in answers.items():
        reference = torch_logits[: len(logits)]
        worst = (logits - reference).abs().max().item()
        print(f"{way:34}{len(logits):>8}{accuracy(logits):>11.4%}{worst:>25.1e}")
        agree &= accuracy(logits) == accuracy(reference)
    return agree


def main() -> int:
    parser = argparse.ArgumentParser(description="Train, upload and query a LeNet.")
    parser.add_argument("--server", default=os.environ.get("TRTSERVE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--name", default="LeNet", help="what to call the engine")
    arguments = parser.parse_args()
    name = arguments.name

    step("train a LeNet on scikit-learn's handwritten digits (a few seconds)")
    data = train.digits()
    model = train.train(data)
    with torch.inference_mode():
        torch_logits = model(data.test_images)

    step(f"export it as ONNX: {MODEL.name}")
    train.export(model, MODEL)

    with httpx.Client(base_url=arguments.server, timeout=60) as client:
        step(f"upload it: POST {arguments.server}/engines?name={name}")
        engine = upload(client, MODEL, name)
        print(f"   engine {engine['id']}: {name} version {engine['version']}, backend {engine['backend']}")

        step(f"what runs on a request: GET /engines/{name}/graph")
        print(checked(client.get(f"/engines/{name}/graph")).text.rstrip())

        step(f"classify the test images: POST /engines/{name}/infer")
        single, seconds = one_by_one(client, name, data.test_images)
        agree = report(
            data,
            torch_logits,
            {
                "HTTP, binary, one by one": single,
                "HTTP, safetensors, all in one": infer_safetensors(client, name, data.test_images),
                "HTTP, JSON, the first": infer_json(client, name, data.test_images[:1]),
            },
        )
        p50, p99 = np.percentile(seconds * 1e3, [50, 99])
        print(f"latency of a request, one client:  p50 {p50:.2f} ms   p99 {p99:.2f} ms")

        step("what Prometheus sees: GET /metrics (some lines of it)")
        for line in checked(client.get("/metrics")).text.splitlines():
            if line.startswith(METRICS) and f'"{name}"' in line and not line.endswith(" 0.0"):
                print(line)

    step(f"{'passed' if agree else 'FAILED'}: the accuracy over HTTP is {'' if agree else 'not '}PyTorch's")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
