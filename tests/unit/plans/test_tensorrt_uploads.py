"""TensorRT plans over HTTP, with a fake runtime: refusals before, in and after the trial load."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from runtime_ext.backends import OpenVinoOptions, TensorRtOptions
from tests.asgi import client_of, refused
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import until
from trtserve.errors import InvalidInput, TrtserveError, Unavailable
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine

pytestmark = pytest.mark.anyio

THIS, OLDER, NEWER = (11, 1, 0, 106), (10, 15, 1, 29), (11, 4, 0, 1)


class FakeTrial:
    """Every plan passes it by default; while `gate` is cleared, it does not end."""

    def __init__(self) -> None:
        self.failure: TrtserveError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tried: list[tuple[Path, StoredEngine]] = []
        self.closed = False

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        self.tried.append((plan, engine))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(backends=("openvino", "tensorrt"))


@pytest.fixture
def trial() -> FakeTrial:
    return FakeTrial()


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime, trial: FakeTrial) -> AsyncIterator[FastAPI]:
    app = create_app(settings, runtime=runtime, trial=trial)
    async with app.router.lifespan_context(app):
        yield app


def nothing_is_left(settings: Settings) -> bool:
    return not [file for folder in ("incoming", "plans") for file in (settings.store / folder).iterdir()]


async def test_a_plan_that_passes_its_trial_is_loaded(
    client: httpx.AsyncClient, runtime: FakeRuntime, trial: FakeTrial
) -> None:
    response = await client.post("/engines?cuda_graphs=off&device=cuda:1", content=tensorrt_plan(THIS))
    assert response.status_code == 201, response.text
    ((plan, tried),) = trial.tried
    assert (str(plan), tried.id) == (runtime.loads[0][1], response.json()["id"])
    assert (tried.options.device, tried.options.cuda_graphs) == ("cuda:1", "off")


async def test_plans_of_the_other_backends_are_tried_too(client: httpx.AsyncClient, trial: FakeTrial) -> None:
    assert (await client.post("/engines", content=onnx_plan())).status_code == 201
    ((_, engine),) = trial.tried
    assert (engine.format, engine.backend) == ("onnx", "openvino")


async def test_a_plan_on_trial_is_shown_as_loading(
    client: httpx.AsyncClient, runtime: FakeRuntime, trial: FakeTrial
) -> None:
    trial.gate.clear()
    uploading = asyncio.create_task(client.post("/engines", content=tensorrt_plan(THIS)))
    await until(lambda: len(trial.tried) == 1)
    (engine,) = (await client.get("/engines")).json()["engines"]
    assert engine["state"] == "LOADING"
    assert runtime.loads == []
    trial.gate.set()
    assert (await uploading).status_code == 201


async def test_a_plan_that_fails_its_trial_leaves_nothing(
    client: httpx.AsyncClient, runtime: FakeRuntime, trial: FakeTrial, settings: Settings
) -> None:
    trial.failure = InvalidInput("The plan crashed TensorRT in a trial load.")
    response = await client.post("/engines?name=net", content=tensorrt_plan(THIS))
    assert refused(response, 400, "InvalidInput") == "The plan crashed TensorRT in a trial load."
    assert runtime.loads == []
    assert (await client.get("/engines")).json() == {"engines": []}
    assert nothing_is_left(settings)


async def test_a_plan_newer_than_the_library_is_refused_before_its_trial(
    client: httpx.AsyncClient, runtime: FakeRuntime, trial: FakeTrial, settings: Settings
) -> None:
    response = await client.post("/engines", content=tensorrt_plan(NEWER))
    assert refused(response, 400, "InvalidInput") == (
        "This plan was built by TensorRT 11.4.0.1; this server runs 11.1.0.106, which reads only plans of "
        "its own version or before: rebuild it with 11.1.0.106, or install TensorRT 11.4.0 on the server. "
        "TensorRT 11.4.0 is pip's tensorrt==11.4.0.* (tensorrt-cu12 for CUDA 12)."
    )
    assert (trial.tried, runtime.loads) == ([], [])
    assert nothing_is_left(settings)


@pytest.mark.parametrize("library", ["11.4.0", "11.4.0.106", "11.10.0.1", "12.0.0", "not a version"])
async def test_a_plan_no_newer_than_the_library_is_tried(
    client: httpx.AsyncClient, runtime: FakeRuntime, library: str
) -> None:
    runtime.versions["tensorrt"] = library
    assert (await client.post("/engines", content=tensorrt_plan(NEWER))).status_code == 201


async def test_without_a_library_an_upload_is_refused_with_its_sentence(
    client: httpx.AsyncClient, runtime: FakeRuntime, trial: FakeTrial
) -> None:
    runtime.versions["tensorrt"] = error("Unavailable", "no TensorRT 11 runtime library was found")
    response = await client.post("/engines", content=tensorrt_plan(THIS))
    assert refused(response, 503, "Unavailable") == "No TensorRT 11 runtime library was found."
    assert trial.tried == []
    assert (await client.post("/engines", content=onnx_plan())).status_code == 201


async def test_a_file_falsely_declared_a_tensorrt_plan_is_refused(
    client: httpx.AsyncClient, trial: FakeTrial
) -> None:
    response = await client.post("/engines?format=tensorrt", content=b"\xde\xad\xbe\xef" * 10)
    assert 'begins with "ftrt" or "ptrt"; this one begins with the bytes de ad be ef' in refused(
        response, 400, "InvalidInput"
    )
    assert trial.tried == []


async def test_an_older_plan_that_loads_is_served(client: httpx.AsyncClient) -> None:
    assert (await client.post("/engines", content=tensorrt_plan(OLDER))).status_code == 201


VERSIONS = (
    "This plan was built by TensorRT 10.15.1.29; this server runs 11.1.0.106: rebuild it with 11.1.0.106, or "
    "build it version-compatible (trtexec --versionCompatible) and start the server with --allow-host-code. "
)


async def test_the_refusal_of_an_older_plan_that_fails_its_trial_begins_with_the_versions(
    client: httpx.AsyncClient, trial: FakeTrial
) -> None:
    trial.failure = InvalidInput("the version tag does not match")
    response = await client.post("/engines", content=tensorrt_plan(OLDER))
    assert refused(response, 400, "InvalidInput") == VERSIONS + "The version tag does not match."


async def test_the_refusal_of_an_older_plan_that_fails_after_its_trial_names_the_versions(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.load_error = error("ExecutionFailed", "no kernel image")
    response = await client.post("/engines", content=tensorrt_plan(OLDER))
    assert refused(response, 500, "ExecutionFailed") == VERSIONS + "No kernel image."


async def test_a_failure_of_the_server_is_not_blamed_on_the_version(
    client: httpx.AsyncClient, trial: FakeTrial
) -> None:
    trial.failure = Unavailable("The GPU has no memory left.")
    response = await client.post("/engines", content=tensorrt_plan(OLDER))
    assert refused(response, 503, "Unavailable") == "The GPU has no memory left."


async def test_the_metadata_of_a_plan_is_shown_before_and_after_a_restart(
    settings: Settings, trial: FakeTrial
) -> None:
    metadata = {"task": "detect", "names": {"0": "person"}, "imgsz": [640, 640]}
    text = json.dumps(metadata).encode()
    plan = struct.pack("<I", len(text)) + text + tensorrt_plan(THIS)
    for request in ("POST", "GET"):
        app = create_app(settings, runtime=FakeRuntime(backends=("tensorrt",)), trial=trial)
        async with app.router.lifespan_context(app), client_of(app) as client:
            if request == "POST":
                await client.post("/engines?name=yolo", content=plan)
            await until(lambda app=app: services_of(app).registry.loading == 0)
            assert (await client.get("/engines/yolo")).json()["metadata"] == metadata
    assert len(trial.tried) == 1


async def test_the_layers_come_from_the_inspector(client: httpx.AsyncClient) -> None:
    await client.post("/engines?name=net", content=tensorrt_plan(THIS))
    response = await client.get("/engines/net/layers")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"Layers": ["conv1", "relu1"]}


async def test_the_settings_reach_the_backend_and_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    trial = FakeTrial()

    def create_runtime(
        *, stuck_after_s: float, tensorrt: TensorRtOptions, openvino: OpenVinoOptions
    ) -> FakeRuntime:
        made.append(tensorrt)
        assert stuck_after_s == 9.0
        assert openvino == OpenVinoOptions(shape_cache=7, max_tensor_bytes=1000, allow_blobs=False)
        return FakeRuntime()

    def process_trial(tensorrt: TensorRtOptions, timeout_s: float) -> FakeTrial:
        made.extend((tensorrt, timeout_s))
        return trial

    monkeypatch.setattr("trtserve.server.app.create_runtime", create_runtime)
    monkeypatch.setattr("trtserve.server.app.ProcessTrial", process_trial)
    settings = Settings(
        store=tmp_path / "store",
        tensorrt_library="/opt/libnvinfer.so.8:/opt/libnvinfer.so.11",
        tensorrt_plugins="/p/a.so:/p/b.so",
        allow_host_code=True,
        shape_cache=7,
        max_tensor_bytes=1000,
        allow_blobs=False,
        stuck_after_s=9.0,
        trial_load_timeout_s=7.0,
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        pass
    plugins = (Path("/p/a.so"), Path("/p/b.so"))
    libraries = (Path("/opt/libnvinfer.so.8"), Path("/opt/libnvinfer.so.11"))
    options = TensorRtOptions(libraries, plugins, allow_host_code=True)
    assert made == [options, 7.0, options]
    assert trial.closed


async def test_without_trial_loads_a_plan_is_loaded_at_once(
    settings: Settings, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trtserve.server.app.ProcessTrial", None)  # creating one fails
    app = create_app(settings.model_copy(update={"trial_load": False}), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.post("/engines", content=tensorrt_plan(THIS))).status_code == 201
