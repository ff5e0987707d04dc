"""Runs a few cases over HTTP: uploads them to a real server, infers in the binary form, and compares."""

import json
from pathlib import Path

import numpy as np

from tests.e2e.server import Server
from tests.onnx_suite.cases import NUMPY, Case, load

BINARY = {"Content-Type": "application/octet-stream"}


def over_http(names: list[str], folder: Path) -> dict[str, str]:
    """Return the fault of each case by name; empty if it is right."""
    cases = load()
    with Server(folder / "store") as server:
        return {name: _run(server, cases[name]) for name in names}


def _run(server: Server, case: Case) -> str:
    upload = server.client.post("/engines", content=case.model.SerializeToString(), params={"format": "onnx"})
    if upload.is_error:
        return upload.text
    engine = upload.json()["id"]
    try:
        for data in case.data_sets():
            body, length = _request(data.inputs)
            headers = {**BINARY, "Inference-Header-Content-Length": str(length)}
            answer = server.client.post(f"/engines/{engine}/infer", content=body, headers=headers)
            if answer.is_error:
                return answer.text
            head = int(answer.headers["Inference-Header-Content-Length"])
            outputs = json.loads(answer.content[:head])["outputs"]
            rest = answer.content[head:]
            if [output["name"] for output in outputs] != [tensor.name for tensor in case.model.graph.output]:
                return f"the outputs are {outputs}"
            for output, expected in zip(outputs, data.outputs, strict=True):
                size = output["parameters"]["binary_data_size"]
                found = np.frombuffer(rest[:size], NUMPY[output["datatype"]]).reshape(output["shape"])
                rest = rest[size:]
                if not case.agrees(found, expected):
                    return f"output {output['name']} is wrong"
        return ""
    finally:
        server.client.delete(f"/engines/{engine}")


def _request(inputs: dict[str, np.ndarray]) -> tuple[bytes, int]:
    described = []
    blobs = []
    for name, array in inputs.items():
        datatype = next(datatype for datatype, dtype in NUMPY.items() if dtype == array.dtype)
        blobs.append(array.tobytes())
        size = {"binary_data_size": len(blobs[-1])}
        described.append({"name": name, "datatype": datatype, "shape": array.shape, "parameters": size})
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(blobs), len(head)
