"""The service that users write by hand: FastAPI, with OpenVINO in the framework's pool of threads.

`python -m bench.hand_written MODELS PORT` serves each MODELS/NAME.onnx on one worker. It takes the Open
Inference Protocol's requests with one input and one output, in JSON or with binary data, and checks nothing.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import orjson
import uvicorn
from fastapi import Depends, FastAPI, Request, Response

from bench.triton import becomes_ready, free_port, stop
from bench.wrk import on_core

NAME = "fastapi + openvino"
STARTS_WITHIN_S = 60
LENGTH = "inference-header-content-length"


class Model:
    """A compiled model; each thread has a request of its own."""

    def __init__(self, path: Path) -> None:
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = openvino.Core().compile_model(str(path), "CPU", hints)
        self._threads = threading.local()
        self.output = self._compiled.output(0).any_name

    def __call__(self, x: np.ndarray) -> np.ndarray:
        request = getattr(self._threads, "request", None)
        if request is None:
            request = self._threads.request = self._compiled.create_infer_request()
        result: np.ndarray = request.infer({0: x}, share_inputs=True)[0]
        return result


async def body_of(request: Request) -> bytes:
    return await request.body()


def application(models: dict[str, Model]) -> FastAPI:
    app = FastAPI()

    @app.get("/v2/health/ready")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/v2/models/{name}/infer")
    def infer(name: str, request: Request, body: bytes = Depends(body_of)) -> Response:
        length = request.headers.get(LENGTH)
        asked = orjson.loads(body if length is None else body[: int(length)])
        described = asked["inputs"][0]
        if length is None:
            x = np.array(described["data"], np.float32).reshape(described["shape"])
        else:
            x = np.frombuffer(body, np.float32, offset=int(length)).reshape(described["shape"])
        y = models[name](x)
        output: dict[str, Any] = {"name": models[name].output, "shape": y.shape, "datatype": "FP32"}
        answer: dict[str, Any] = {"model_name": name, "outputs": [output]}
        if length is None:
            output["data"] = y.ravel()
            content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
            return Response(content, media_type="application/json")
        output["parameters"] = {"binary_data_size": y.nbytes}
        head = orjson.dumps(answer)
        headers = {LENGTH: str(len(head))}
        return Response(head + y.tobytes(), media_type="application/octet-stream", headers=headers)

    return app


@contextmanager
def serving(models: Path, core: int) -> Iterator[str]:
    """Yield the URL of the models in a folder, served by a process on one core."""
    port = free_port()
    with on_core(core):
        process = subprocess.Popen([sys.executable, "-m", "bench.hand_written", str(models), str(port)])
    try:
        if not becomes_ready(process, port, STARTS_WITHIN_S):
            raise SystemExit("error: the service written by hand did not start")
        yield f"http://127.0.0.1:{port}/v2/models"
    finally:
        stop(process)


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    models = {path.stem: Model(path) for path in folder.glob("*.onnx")}
    config = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning"}
    uvicorn.run(application(models), host="127.0.0.1", port=port, **config)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
