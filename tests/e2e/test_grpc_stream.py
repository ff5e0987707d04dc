"""ModelStreamInfer: many requests on one call, answered in order, with errors among the answers."""

import queue
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client

from tests.e2e.grpc_calls import LONG, SHORT, X, add, error_count, only_output, outcome, raw, stub
from tests.e2e.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("each_grpc_server")


@pytest.fixture
def double(grpc_server: Server, plan: bytes) -> Server:
    return add(grpc_server, plan, name="double")


def test_answers_come_in_request_order(double: Server, big_plan: bytes) -> None:
    add(double, big_plan, name="slow")
    requests = [LONG, *(raw("double", np.full((1, 4), i, np.float32), id=str(i)) for i in range(600))]
    with stub(double, max_receive_message_length=-1) as service:
        first, *others = service.ModelStreamInfer(iter(requests))
    assert first.infer_response.model_name == "slow"
    assert [answer.infer_response.id for answer in others] == [str(i) for i in range(600)]
    assert [only_output(answer.infer_response)[0, 0] for answer in others] == [2 * i for i in range(600)]


def test_the_stream_goes_on_after_an_error(double: Server) -> None:
    requests = [raw("double", X, id="1"), raw("nobody", X, id="2"), raw("double", X, id="3")]
    with stub(double) as service:
        first, second, third = service.ModelStreamInfer(iter(requests))
    assert (first.error_message, third.error_message) == ("", "")
    assert second.error_message.startswith("Request for unknown model: There is no engine 'nobody'.")
    assert [answer.infer_response.id for answer in (first, second, third)] == ["1", "2", "3"]
    assert np.array_equal(only_output(third.infer_response), 2 * X)


def test_an_answer_does_not_wait_for_the_next_request(double: Server) -> None:
    requests: queue.Queue[Any] = queue.Queue()
    with stub(double) as service:
        answers = service.ModelStreamInfer(iter(requests.get, None))
        for number in range(5):
            requests.put(raw("double", X, id=str(number)))
            assert next(answers).infer_response.id == str(number)
        requests.put(None)
        assert list(answers) == []


def test_the_client_library_can_stream(double: Server) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    x = client.InferInput("x", X.shape, "FP32").set_data_from_numpy(X)
    with client.InferenceServerClient(double.grpc_address) as service:
        service.start_stream(lambda result, error: answers.put((result, error)))
        service.async_stream_infer("double", [x], request_id="1")
        service.async_stream_infer("nobody", [x])
        (result, none), (nothing, error) = answers.get(), answers.get()
        service.stop_stream()
    assert (none, nothing) == (None, None)
    assert np.array_equal(result.as_numpy("y"), 2 * X)
    assert "There is no engine 'nobody'." in error.message()


def test_a_cancelled_stream_removes_its_requests_from_the_queue(grpc_server: Server, big_plan: bytes) -> None:
    add(grpc_server, big_plan, name="slow", instances=1)
    endless: queue.Queue[Any] = queue.Queue()
    before = error_count(grpc_server, "Cancelled")
    with stub(grpc_server) as service:
        answers = service.ModelStreamInfer(iter(endless.get, None))
        for request in (LONG, SHORT, SHORT, SHORT):
            endless.put(request)
        grpc_server.wait_until_queued("slow", 3)  # behind the long one
        answers.cancel()
        endless.put(None)
        wait_until(
            lambda: outcome(grpc_server, "Cancelled") == 3, "the cancellation of the three waiting requests"
        )
        wait_until(
            lambda: error_count(grpc_server, "Cancelled") == before + 4, "the count of all four cancellations"
        )


def test_a_stream_has_at_most_256_requests_under_way(grpc_server: Server, big_plan: bytes) -> None:
    add(grpc_server, big_plan, name="slow", instances=1, max_queue_size=1000)
    requests = [LONG, *([SHORT] * 299)]
    with stub(grpc_server, max_receive_message_length=-1) as service:
        answers = service.ModelStreamInfer(iter(requests))
        grpc_server.wait_until_queued("slow", 255)  # behind the running one
        while outcome(grpc_server, "Success") == 0:
            assert grpc_server.metric("trtserve_queue_depth", engine="slow") <= 255
        assert [answer.error_message for answer in answers] == [""] * 300


def ran(server: Server) -> int:
    """The number of requests that `double` has answered."""
    (stats,) = server.client.get("/v2/models/double/stats").json()["model_stats"]
    return int(stats["inference_stats"]["success"]["count"])


def test_unread_answers_count_as_under_way(tmp_path: Any, plan: bytes) -> None:
    number, mib = 20, 1024**2
    large = raw("double", np.zeros((mib // 16, 4), np.float32))
    limits = ("--max-request-bytes", str(4 * mib), "--max-inflight-bytes", str(8 * mib), "--drain-s", "0")
    with (
        Server(tmp_path / "store", *limits, grpc=True) as server,
        # A client that probes the bandwidth may open its window for several answers that nobody reads.
        stub(add(server, plan, name="double"), **{"http2.bdp_probe": 0}) as service,
    ):
        answers = service.ModelStreamInfer(iter([large] * number))
        wait_until(
            lambda: ran(server) + error_count(server, "Unavailable") == number, "an answer to every request"
        )
        body = np.zeros(mib, np.float32).tobytes()[:-64]
        infer = partial(
            server.client.post,
            "/v2/models/double/infer",
            content=body,
            headers={"Inference-Header-Content-Length": "0"},
        )
        assert infer().status_code == 503
        told = [answer.error_message for answer in answers]
        assert infer().status_code == 200
    assert len(told) == number
    assert {bool(sentence) for sentence in told} == {False, True}
    assert all("in progress hold" in sentence for sentence in told if sentence)


def test_a_client_that_leaves_without_its_answers_is_not_counted_as_a_failure(double: Server) -> None:
    large = raw("double", np.zeros((100_000, 4), np.float32))
    before, left = ran(double), error_count(double, "Cancelled")
    # A client that probes the bandwidth may open its window for all answers, and the stream has ended.
    with stub(double, **{"http2.bdp_probe": 0}) as service:
        answers = service.ModelStreamInfer(iter([large] * 20))
        wait_until(lambda: ran(double) == before + 20, "the execution of every request")
        answers.cancel()
        wait_until(lambda: error_count(double, "Cancelled") == left + 1, "the end of the stream")
    assert "Traceback" not in double.log


def test_a_stop_answers_the_requests_read_and_ends_streams(tmp_path: Any, plan: bytes) -> None:
    open_one: queue.Queue[Any] = queue.Queue()
    with Server(tmp_path / "store", grpc=True) as server, stub(add(server, plan, name="double")) as service:
        answers = service.ModelStreamInfer(iter(open_one.get, None))
        open_one.put(raw("double", X))
        assert np.array_equal(only_output(next(answers).infer_response), 2 * X)
        assert server.stop() == 0
        with pytest.raises(grpc.RpcError) as ended:
            next(answers)
        open_one.put(None)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "stopping" in ended.value.details()


def test_a_stop_ends_a_fully_answered_stream_with_success(tmp_path: Any, big_plan: bytes) -> None:
    with (
        Server(tmp_path / "store", "--drain-s", "600", grpc=True) as server,  # a busy machine is slow
        stub(add(server, big_plan, name="slow", instances=1), max_receive_message_length=-1) as service,
    ):
        answers = service.ModelStreamInfer(iter([LONG] * 3))
        server.wait_until_queued("slow", 2)
        with ThreadPoolExecutor(1) as stopping:  # it ends once the answers are read
            stopped = stopping.submit(server.stop)
            assert [answer.error_message for answer in answers] == ["", "", ""]
            assert stopped.result() == 0
        assert answers.code() == grpc.StatusCode.OK
