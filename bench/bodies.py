"""Inference requests as clients of the Open Inference Protocol send them."""

import json
from pathlib import Path

import numpy as np

from bench.wrk import Request


def binary(folder: Path, input_name: str, output_name: str, x: np.ndarray) -> Request:
    described = {"name": input_name, "shape": list(x.shape), "datatype": "FP32"}
    document = json.dumps(
        {
            "inputs": [described | {"parameters": {"binary_data_size": x.nbytes}}],
            "outputs": [{"name": output_name, "parameters": {"binary_data": True}}],
        },
        separators=(",", ":"),
    ).encode()
    path = folder / f"{input_name}-{x.size}.bin"
    path.write_bytes(document + x.tobytes())
    return Request(
        path,
        {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(document)),
        },
    )


def as_json(folder: Path, input_name: str, output_name: str, x: np.ndarray) -> Request:
    """Make a JSON request whose values have six decimals, like a preprocessed image."""
    data = [round(float(value), 6) for value in x.ravel()]
    tensor = {"name": input_name, "shape": list(x.shape), "datatype": "FP32", "data": data}
    path = folder / f"{input_name}-{x.size}.json"
    path.write_text(
        json.dumps({"inputs": [tensor], "outputs": [{"name": output_name}]}, separators=(",", ":"))
    )
    return Request(path, {"Content-Type": "application/json"})
