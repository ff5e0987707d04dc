"""Metadata, repository, shared memory and settings over gRPC."""

import uuid
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from tests.e2e.grpc_calls import X, add, only_output, raw, refusal, stub
from tests.e2e.server import Server

pytestmark = pytest.mark.usefixtures("each_grpc_server")

UNSUPPORTED = "StatusCode.UNIMPLEMENTED"


@pytest.fixture
def service(grpc_server: Server, plan: bytes) -> Iterator[Any]:
    """A stub of a server with the engine `double`."""
    add(grpc_server, plan, name="double", max_batch_size=8)
    with client.InferenceServerClient(grpc_server.grpc_address) as service:
        yield service


def test_the_server_is_live_and_ready_and_describes_itself(service: Any) -> None:
    assert service.is_server_live()
    assert service.is_server_ready()
    metadata = service.get_server_metadata()
    assert metadata.name == "trtserve"
    assert "model_repository" in metadata.extensions


def test_the_readiness_of_a_model_is_reported(service: Any) -> None:
    assert service.is_model_ready("double")
    assert service.is_model_ready("double", "1")
    assert not service.is_model_ready("double", "2")
    assert not service.is_model_ready("nobody")


def test_a_model_is_described(service: Any) -> None:
    metadata = service.get_model_metadata("double", as_json=True)
    assert (metadata["name"], metadata["versions"]) == ("double", ["1"])
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]
    config = service.get_model_config("double").config
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("double", 8, [4])
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"


def test_an_unknown_model_is_not_found(service: Any) -> None:
    for ask in (service.get_model_metadata, service.get_model_config, service.get_inference_statistics):
        with pytest.raises(InferenceServerException, match="There is no engine 'nobody'") as refused:
            ask("nobody")
        assert refused.value.status() == "StatusCode.NOT_FOUND"


def test_statistics_count_requests(service: Any) -> None:
    x = client.InferInput("x", X.shape, "FP32").set_data_from_numpy(X)
    for _ in range(3):
        service.infer("double", [x])
    (stats,) = service.get_inference_statistics("double").model_stats
    assert (stats.name, stats.version) == ("double", "1")
    assert (stats.inference_count, stats.execution_count) == (6, 3)
    assert stats.inference_stats.success.count == 3
    assert stats.inference_stats.compute_infer.ns > 0
    assert [(batch.batch_size, batch.compute_infer.count) for batch in stats.batch_stats] == [(2, 3)]


# -- the repository


def test_a_model_is_unloaded_and_loaded_again(service: Any) -> None:
    service.unload_model("double")
    assert not service.is_model_ready("double")
    (model,) = service.get_model_repository_index().models
    assert (model.name, model.version, model.state) == ("double", "1", "UNAVAILABLE")
    assert service.get_model_repository_index(as_json=True) != {}
    service.load_model("double")
    assert service.is_model_ready("double")


def test_a_load_may_upload_a_plan(service: Any, plan: bytes) -> None:
    config = '{"max_batch_size": 8, "dynamic_batching": {}}'
    service.load_model("more", config=config, files={"file:1/model.onnx": plan})
    assert service.get_model_config("more").config.max_batch_size == 8
    with pytest.raises(InferenceServerException) as refused:
        service.load_model("more", files={"file:one/model.onnx": plan})
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_index_can_be_limited_to_ready_models(grpc_server: Server, service: Any) -> None:
    service.unload_model("double")
    with stub(grpc_server) as calls:
        assert list(calls.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models) == []
    service.load_model("double")


def test_the_repository_name_is_ignored(grpc_server: Server, service: Any) -> None:
    with stub(grpc_server) as calls:
        index = calls.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="mine"))
    assert [model.name for model in index.models] == ["double"]


# -- shared memory


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that accepts shared memory regions."""
    store = tmp_path_factory.mktemp("sharing") / "store"
    with Server(store, "--shared-memory", "trtserve_test_*", grpc=True) as server:
        yield server


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    """A shared memory object of 4096 bytes."""
    memory = SharedMemory(f"trtserve_test_{uuid.uuid4().hex}", create=True, size=4096)
    yield memory
    memory.close()
    memory.unlink()


def test_tensors_are_exchanged_through_shared_memory(
    sharing: Server, plan: bytes, memory: SharedMemory
) -> None:
    add(sharing, plan, name="double")
    memory.buf[64 : 64 + X.nbytes] = X.tobytes()
    x = client.InferInput("x", X.shape, "FP32")
    x.set_shared_memory("in", X.nbytes, offset=64)
    y = client.InferRequestedOutput("y")
    y.set_shared_memory("out", 1024)
    with client.InferenceServerClient(sharing.grpc_address) as service:
        service.register_system_shared_memory("in", f"/{memory.name}", 2048)
        service.register_system_shared_memory("out", f"/{memory.name}", 2048, offset=2048)
        regions = service.get_system_shared_memory_status().regions
        assert {name: (region.offset, region.byte_size) for name, region in regions.items()} == {
            "in": (0, 2048),
            "out": (2048, 2048),
        }
        result = service.infer("double", [x], outputs=[y])
        output = result.get_output("y")
        assert output.parameters["shared_memory_byte_size"].int64_param == X.nbytes
        assert list(result.get_response().raw_output_contents) == [b""]
        written = np.frombuffer(memory.buf, np.float32, X.size, 2048).copy()
        assert np.array_equal(written.reshape(X.shape), 2 * X)
        assert np.array_equal(service.infer("double", [x]).as_numpy("y"), 2 * X)

        service.unregister_system_shared_memory("in")
        with pytest.raises(InferenceServerException, match="'in'"):
            service.infer("double", [x])
        service.unregister_system_shared_memory()
        assert not service.get_system_shared_memory_status().regions


def test_shared_memory_is_off_by_default(service: Any) -> None:
    assert not service.get_system_shared_memory_status().regions
    with pytest.raises(InferenceServerException, match="--shared-memory") as refused:
        service.register_system_shared_memory("r", "/trtserve_test", 64)
    assert refused.value.status() == UNSUPPORTED
    service.unregister_system_shared_memory()


def test_cuda_shared_memory_is_refused(service: Any) -> None:
    assert not service.get_cuda_shared_memory_status().regions
    service.unregister_cuda_shared_memory()
    with pytest.raises(InferenceServerException, match="CUDA shared memory") as refused:
        service.register_cuda_shared_memory("r", b"aGFuZGxl", 0, 64)
    assert refused.value.status() == UNSUPPORTED
    with pytest.raises(InferenceServerException, match="'r'"):
        service.get_cuda_shared_memory_status("r")


# -- settings


def test_tracing_is_off(service: Any) -> None:
    off = service.get_trace_settings().settings
    assert list(off["trace_level"].value) == ["OFF"]
    assert service.update_trace_settings("double", {"trace_level": ["OFF"]}).settings == off
    assert service.update_trace_settings(settings={"trace_rate": None}).settings == off
    with pytest.raises(InferenceServerException, match="traces no requests") as refused:
        service.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})
    assert refused.value.status() == UNSUPPORTED
    with pytest.raises(InferenceServerException, match="nobody"):
        service.get_trace_settings("nobody")


def test_log_settings_are_read_and_changed(service: Any) -> None:
    before = service.get_log_settings().settings
    assert (before["log_info"].bool_param, before["log_verbose_level"].uint32_param) == (True, 0)
    assert service.update_log_settings({"log_info": False}).settings["log_info"].bool_param is False
    assert service.update_log_settings({"log_info": True}).settings == before
    with pytest.raises(InferenceServerException) as refused:
        service.update_log_settings({"log_file": "elsewhere"})
    assert refused.value.status() == UNSUPPORTED


def test_a_verbose_log_contains_no_lines_of_the_library(tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store", "--log-level", "debug", grpc=True) as server:
        add(server, plan, name="double")
        with stub(server) as service:
            assert only_output(service.ModelInfer(raw("double", X))).shape == X.shape
            error = refusal(service.ModelInfer, raw("nobody", X))
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert "cygrpc" not in server.log
