"""Inference over gRPC, with the requests and refusals of HTTP."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client
import tritonclient.grpc.aio as aio_client
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2 as pb

from tests.e2e.grpc_calls import (
    LONG,
    SHORT,
    X,
    add,
    error_count,
    occupied,
    only_output,
    outcome,
    raw,
    refusal,
    stub,
)
from tests.e2e.server import Server
from tests.seam.models import write_onnx
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("each_grpc_server")


@pytest.fixture
def double(grpc_server: Server, plan: bytes) -> Server:
    """A server with the engine `double`."""
    return add(grpc_server, plan, name="double")


# -- answers


def test_raw_contents_are_answered_with_raw_contents(double: Server) -> None:
    with stub(double) as service:
        answer = service.ModelInfer(raw("double", X, id="7"))
    assert (answer.model_name, answer.model_version, answer.id) == ("double", "1", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [("y", "FP32", [2, 4])]
    assert np.array_equal(only_output(answer), 2 * X)


def test_an_unnamed_engine_is_called_by_its_id_and_has_version_1(grpc_server: Server, plan: bytes) -> None:
    id = str(grpc_server.client.post("/engines", content=plan).json()["id"])
    with stub(grpc_server) as service:
        answer = service.ModelInfer(raw(id, X, model_version="1"))
    assert (answer.model_name, answer.model_version) == (id, "1")


def test_the_client_library_gets_an_answer(double: Server) -> None:
    x = client.InferInput("x", X.shape, "FP32").set_data_from_numpy(X)
    with client.InferenceServerClient(double.grpc_address) as service:
        answer = service.infer("double", [x], outputs=[client.InferRequestedOutput("y")], priority=1)
        compressed = service.infer("double", [x], compression_algorithm="gzip")
    assert np.array_equal(answer.as_numpy("y"), 2 * X)
    assert np.array_equal(compressed.as_numpy("y"), 2 * X)


def test_the_asynchronous_client_library_gets_answers(double: Server) -> None:
    async def ask() -> list[Any]:
        x = aio_client.InferInput("x", X.shape, "FP32").set_data_from_numpy(X)
        async with aio_client.InferenceServerClient(double.grpc_address) as service:
            return await asyncio.gather(*(service.infer("double", [x], request_id=str(i)) for i in range(50)))

    answers = asyncio.run(ask())
    assert [answer.get_response().id for answer in answers] == [str(i) for i in range(50)]
    assert all(np.array_equal(answer.as_numpy("y"), 2 * X) for answer in answers)


def test_many_clients_at_once_each_get_their_own_answer(double: Server) -> None:
    def ask(value: int) -> bool:
        x = np.full((1 + value % 5, 4), value, np.float32)
        return np.array_equal(only_output(service.ModelInfer(raw("double", x))), 2 * x)

    with stub(double) as service, ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(300)))


def test_a_message_may_have_its_raw_contents_anywhere_and_unknown_fields(
    grpc_server: Server, tmp_path: Path
) -> None:
    spec = (TensorProto.FLOAT, ["batch", 4])
    minus = helper.make_node("Sub", ["a", "b"], ["y"])
    path = write_onnx(tmp_path / "minus.onnx", [minus], {"a": spec, "b": spec}, {"y": spec})
    add(grpc_server, path.read_bytes(), name="minus")
    name, b, a = (
        pb.ModelInferRequest(**part).SerializeToString()
        for part in (
            {"model_name": "minus"},
            {"inputs": [{"name": "b", "datatype": "FP32", "shape": X.shape}]},
            {"inputs": [{"name": "a", "datatype": "FP32", "shape": X.shape}]},
        )
    )
    data_b, data_a = (
        pb.ModelInferRequest(raw_input_contents=[x.tobytes()]).SerializeToString() for x in (X, 3 * X)
    )
    varint, four_bytes = b"\x98\x06\x01", b"\x45\0\0\0\0"  # fields number 99 and 8
    with grpc.insecure_channel(grpc_server.grpc_address) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for parts in (
            [name, b, a, data_b, data_a],
            [data_b, b, name, data_a, a],
            [varint, name, b, data_b, a, data_a],
            [data_b, data_a, four_bytes, b, a, name],
        ):
            answer = pb.ModelInferResponse.FromString(infer(b"".join(parts)))
            assert np.array_equal(only_output(answer), 2 * X)


def test_requested_outputs_come_in_the_requested_order(grpc_server: Server, tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("Neg", ["x"], ["minus"])]
    spec = (TensorProto.FLOAT, ["batch", 4])
    path = write_onnx(tmp_path / "two.onnx", nodes, {"x": spec}, {"double": spec, "minus": spec})
    add(grpc_server, path.read_bytes(), name="two")
    with stub(grpc_server) as service:
        both = service.ModelInfer(raw("two", X, outputs=[{"name": "minus"}, {"name": "double"}]))
        one = service.ModelInfer(raw("two", X, outputs=[{"name": "minus"}]))
        error = refusal(service.ModelInfer, raw("two", X, outputs=[{"name": "half"}]))
    assert [output.name for output in both.outputs] == ["minus", "double"]
    assert [np.frombuffer(data, np.float32)[1] for data in both.raw_output_contents] == [-1, 2]
    assert np.array_equal(only_output(one), -X)
    assert (error.code(), "no output 'half'" in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("datatype", "types", "field"),
    [
        ("BOOL", (TensorProto.BOOL, np.bool_), "bool_contents"),
        ("UINT8", (TensorProto.UINT8, np.uint8), "uint_contents"),
        ("UINT16", (TensorProto.UINT16, np.uint16), "uint_contents"),
        ("UINT32", (TensorProto.UINT32, np.uint32), "uint_contents"),
        ("UINT64", (TensorProto.UINT64, np.uint64), "uint64_contents"),
        ("INT8", (TensorProto.INT8, np.int8), "int_contents"),
        ("INT16", (TensorProto.INT16, np.int16), "int_contents"),
        ("INT32", (TensorProto.INT32, np.int32), "int_contents"),
        ("INT64", (TensorProto.INT64, np.int64), "int64_contents"),
        ("FP16", (TensorProto.FLOAT16, np.float16), None),
        ("BF16", (TensorProto.BFLOAT16, np.uint16), None),
        ("FP32", (TensorProto.FLOAT, np.float32), "fp32_contents"),
        ("FP64", (TensorProto.DOUBLE, np.float64), "fp64_contents"),
    ],
)
def test_every_datatype_survives_both_ways(
    grpc_server: Server, tmp_path: Path, datatype: str, types: tuple[int, Any], field: str | None
) -> None:
    element_type, dtype = types
    identity = helper.make_node("Reshape", ["x", "shape"], ["y"])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 4])
    spec = (element_type, ["batch", 4])
    path = write_onnx(tmp_path / "same.onnx", [identity], {"x": spec}, {"y": spec}, [shape])
    add(grpc_server, path.read_bytes(), name="same")
    x = np.array([[0, 1, 1, 0]], dtype)
    with stub(grpc_server) as service:
        assert np.array_equal(only_output(service.ModelInfer(raw("same", x, datatype)), dtype), x)
        typed = raw("same", x, datatype)
        del typed.raw_input_contents[:]
        if field is None:
            error = refusal(service.ModelInfer, typed)
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert f"{datatype}, for which contents have no field" in error.details()
        else:
            getattr(typed.inputs[0].contents, field).extend(x.ravel().tolist())
            assert np.array_equal(only_output(service.ModelInfer(typed), dtype), x)


# -- refusals


def request(**changed: Any) -> Any:
    """A good request with changes; `x` changes its one input."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4]} | changed.pop("x", {})
    fields: dict[str, Any] = {"model_name": "double", "raw_input_contents": [bytes(16)]}
    return pb.ModelInferRequest(inputs=[x], **(fields | changed))


WRONG = {
    "too few bytes": (request(raw_input_contents=[bytes(12)]), "12 bytes of data; FP32 [1, 4] takes 16"),
    "too many raw contents": (request(raw_input_contents=[bytes(16)] * 2), "2 raw_input_contents for 1"),
    "no data": (request(raw_input_contents=[]), "0 elements in its data; shape [1, 4] takes 4"),
    "data twice": (request(x={"contents": {"fp32_contents": [0] * 4}}), "give its data in one way"),
    "data in another field": (
        request(raw_input_contents=[], x={"contents": {"int_contents": [0] * 4}}),
        "data in int_contents; data of datatype FP32 belongs in fp32_contents",
    ),
    "too few elements": (
        request(raw_input_contents=[], x={"contents": {"fp32_contents": [0] * 3}}),
        "3 elements in its data",
    ),
    "an unknown datatype": (request(x={"datatype": "FP31"}), "'FP31'"),
    "another datatype": (request(x={"datatype": "INT32"}), "INT32"),
    "an unknown input": (request(x={"name": "z"}), "'z'"),
    "no input": (pb.ModelInferRequest(model_name="double"), "Input 'x' is missing"),
    "a negative dimension": (request(x={"shape": [-1, 4]}), "whole numbers from 0"),
    "another rank": (request(x={"shape": [4]}), "shape [4]; the engine takes [?, 4]"),
    "a wrong priority": (request(parameters={"priority": {"int64_param": -1}}), "priority is -1"),
    "a wrong timeout": (request(parameters={"timeout": {"string_param": "x"}}), "timeout is 'x'"),
    "thousands of inputs": (
        pb.ModelInferRequest(model_name="double", inputs=[{}] * 4097),
        "The request has 4097 inputs; it must have at most 4096.",
    ),
    "thousands of raw contents": (
        request(raw_input_contents=[b""] * 5000),
        "5000 raw_input_contents for 1",
    ),
    "an output twice": (request(outputs=[{"name": "y"}, {"name": "y"}]), "twice"),
    "data in shared memory too": (
        request(
            x={
                "contents": {"fp32_contents": [0] * 4},
                "parameters": {
                    "shared_memory_region": {"string_param": "r"},
                    "shared_memory_byte_size": {"int64_param": 16},
                },
            },
            raw_input_contents=[],
        ),
        "is in shared memory too",
    ),
    "half a shared memory region": (
        request(x={"parameters": {"shared_memory_region": {"string_param": "r"}}}, raw_input_contents=[]),
        "shared_memory_byte_size",
    ),
}


def test_an_error_that_quotes_a_long_name_reaches_its_client(double: Server) -> None:
    with stub(double) as service:
        error = refusal(service.ModelInfer, raw("n" * 100_000, X))
    assert (error.code(), dict(error.trailing_metadata())["code"]) == (
        grpc.StatusCode.NOT_FOUND,
        "NotFound",
    )
    assert error.details().startswith("Request for unknown model: There is no engine 'nnn")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_ends_with_invalid_argument_and_a_sentence(double: Server, wrong: str) -> None:
    sent, sentence = WRONG[wrong]
    before = error_count(double, "InvalidInput")
    with stub(double) as service:
        error = refusal(service.ModelInfer, sent)
    assert (error.code(), dict(error.trailing_metadata())["code"]) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "InvalidInput",
    )
    assert sentence in error.details()
    assert error.details().endswith(".")
    assert error_count(double, "InvalidInput") == before + 1


def test_bytes_that_are_not_a_message_end_with_invalid_argument(double: Server) -> None:
    whole = raw("double", X).SerializeToString()
    with grpc.insecure_channel(double.grpc_address) as channel:
        for method in ("ModelInfer", "ModelMetadata"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            for sent in (whole[:-1], b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x0a\x02\xff\xff"):
                error = refusal(call, sent)
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
                assert f"is not a valid inference.{method}Request" in error.details()


def test_each_kind_of_error_has_its_status(double: Server) -> None:
    sequence = request(parameters={"sequence_id": {"int64_param": 3}})
    with stub(double) as service:
        missing = refusal(service.ModelInfer, raw("nobody", X))
        version = refusal(service.ModelInfer, raw("double", X, model_version="9"))
        unsupported = refusal(service.ModelInfer, sequence)
    assert (missing.code(), version.code()) == (grpc.StatusCode.NOT_FOUND,) * 2
    assert "There is no engine 'nobody'" in missing.details()
    assert unsupported.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "sequence_id" in unsupported.details()


def test_the_refusal_of_a_large_request_names_the_limit(tmp_path: Path, plan: bytes) -> None:
    limits = ("--max-request-bytes", "4096", "--max-inflight-bytes", "4096")
    with Server(tmp_path / "store", *limits, grpc=True) as server:
        add(server, plan, name="double")
        with stub(server) as service:
            error = refusal(service.ModelInfer, raw("double", np.zeros((256, 4), np.float32)))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "4096" in error.details()
            fits = np.ones((250, 4), np.float32)
            assert np.array_equal(only_output(service.ModelInfer(raw("double", fits))), 2 * fits)


def test_requests_under_way_share_one_limit(tmp_path: Path, big_plan: bytes) -> None:
    limits = ("--max-request-bytes", "10000000", "--max-inflight-bytes", "10000000")
    with Server(tmp_path / "store", *limits, grpc=True) as server:
        add(server, big_plan, name="slow", instances=1)
        with stub(server) as service:
            calls = [service.ModelInfer.future(LONG) for _ in range(4)]
            ends = {call.code(): call.details() for call in calls}
            assert grpc.StatusCode.UNAVAILABLE in ends
            assert "--max-inflight-bytes" in ends[grpc.StatusCode.UNAVAILABLE]
            assert len(only_output(service.ModelInfer(raw("slow", np.ones((1, 512), np.float32))))) == 1


def test_the_message_limit_applies_to_answers_too(tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store", "--grpc-max-message-bytes", "64", grpc=True) as server:
        add(server, plan, name="double")
        with stub(server) as service:
            request = raw("double", np.zeros((1, 4), np.float32))
            assert len(request.SerializeToString()) <= 64
            assert only_output(service.ModelInfer(request)).shape == (1, 4)
            request.id = "a long one" * 2
            assert refusal(service.ModelInfer, request).code() == grpc.StatusCode.RESOURCE_EXHAUSTED


# -- time


@pytest.fixture
def slow(grpc_server: Server, big_plan: bytes) -> Server:
    """A server with the engine `slow`, which has one instance and a queue of three."""
    return add(grpc_server, big_plan, name="slow", instances=1, max_queue_size=3)


def test_a_call_cancelled_while_waiting_frees_its_place(slow: Server) -> None:
    before = error_count(slow, "Cancelled")
    with stub(slow) as service:
        calls = occupied(slow, service, waiting=3)
        for call in calls:
            call.cancel()
        wait_until(lambda: outcome(slow, "Cancelled") == 3, "the cancellation of the three waiting requests")
        wait_until(
            lambda: error_count(slow, "Cancelled") == before + 4, "the count of all four cancellations"
        )


def test_a_full_queue_is_refused_with_a_retry_delay(slow: Server) -> None:
    with stub(slow) as service:
        calls = occupied(slow, service, waiting=3)
        error = refusal(service.ModelInfer, SHORT)
        metadata = dict(error.trailing_metadata())
        assert (error.code(), metadata["code"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QueueFull")
        assert int(metadata["retry-after"]) >= 1
        for call in calls:
            call.cancel()


def test_a_request_past_its_timeout_is_answered_before_its_turn(slow: Server) -> None:
    hurry = pb.ModelInferRequest()
    hurry.CopyFrom(SHORT)
    hurry.parameters["timeout"].int64_param = 1000  # microseconds
    with stub(slow) as service:
        calls = occupied(slow, service, waiting=2)
        error = refusal(service.ModelInfer, hurry)
        assert (error.code(), dict(error.trailing_metadata())["code"]) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "DeadlineExceeded",
        )
        for call in calls:
            call.cancel()


def test_the_deadline_of_a_call_limits_its_request(grpc_server: Server, big_plan: bytes) -> None:
    """The deadline also overrides a longer timeout in the request: by then the client has left."""
    add(grpc_server, big_plan, name="slow", instances=1)
    patient = raw("slow", np.ones((1, 512), np.float32))
    patient.parameters["timeout"].int64_param = 10**9

    def expired() -> bool:
        calls = [service.ModelInfer.future(LONG) for _ in range(4)]
        grpc_server.wait_until_queued("slow", 3)
        ended = service.ModelInfer.future(patient, timeout=0.2).code()
        for call in calls:
            call.cancel()
        grpc_server.wait_until_queued("slow", 0)
        return ended == grpc.StatusCode.DEADLINE_EXCEEDED and outcome(grpc_server, "DeadlineExceeded") > 0

    with stub(grpc_server) as service:
        wait_until(expired, "a queued request whose deadline ends before its turn")
