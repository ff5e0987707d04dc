"""Plans that a server builds from models, with the fake SDK as TensorRT."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server import HANGS_AFTER_S, Server, environment
from tests.fakes.tensorrt import toy_model
from tests.waiting import wait_until

TRTSERVE = (sys.executable, "-m", "tests.fakes.with_tensorrt", "trtserve")
ROOT = Path(__file__).parents[2]
DOUBLE = "input x FP32 -1 4\noutput y scale x 2"
BUILT = {"backend": "tensorrt", "name": "net", "max_batch_size": "8"}
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "store", command=(*TRTSERVE, "serve")) as server:
        yield server


def slow(gate: str) -> bytes:
    """A model whose build does not end: nobody opens its gate."""
    return toy_model(f"{DOUBLE}\nbuild_gate {gate}")


def files(server: Server) -> list[str]:
    folders = ("incoming", "plans", "pending", "built")
    return [path.name for folder in folders for path in (server.store / folder).iterdir()]


def answer(server: Server, ref: object = "net") -> list[float]:
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    response = server.client.post(f"/engines/{ref}/infer", json=body)
    assert response.status_code == 200, response.text
    data: list[float] = response.json()["outputs"][0]["data"]
    return data


def until_state(server: Server, location: str, state: str) -> dict[str, Any]:
    wait_until(lambda: server.client.get(location).json()["state"] == state, f"{location} is {state}")
    engine: dict[str, Any] = server.client.get(location).json()
    return engine


def children(server: Server) -> list[int]:
    """The processes that build a plan for this server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if b"runtime_ext.building" in command and parent == server.process.pid:
            found.append(int(process.name))
    return found


def until_building(server: Server, location: str) -> int:
    """Wait until a child builds; return its process ID."""
    until_state(server, location, "BUILDING")
    wait_until(lambda: len(children(server)) == 1, "a child that builds")
    return children(server)[0]


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def accepted(server: Server, model: bytes, **query: str) -> str:
    response = server.client.post("/engines", params=BUILT | query, content=model, headers=ASYNC)
    assert response.status_code == 202, response.text
    return response.headers["location"]


def test_a_model_is_built_served_and_kept(server: Server) -> None:
    response = server.client.post("/engines", params=BUILT, content=toy_model(DOUBLE))
    assert response.status_code == 201, response.text
    engine = response.json()
    assert engine["build"]["target"].endswith(", Fake GPU")
    assert engine["inputs"][0]["profiles"] == [{"min": [1, 4], "opt": [8, 4], "max": [8, 4]}]
    assert answer(server) == [2, 4, 6, 8]
    again = server.client.post("/engines", params=BUILT, content=toy_model(DOUBLE))
    assert (again.status_code, again.json()["id"]) == (200, engine["id"])
    server.stop()
    server.start()
    server.wait_until_ready()
    assert answer(server) == [2, 4, 6, 8]
    assert server.client.get("/engines/net").json()["build"]["phase"] is None


def test_profiles_are_those_that_were_asked_for(server: Server) -> None:
    query = [*BUILT.items(), ("profile", "x:1x4/2x4/4x4"), ("profile", "x:4x4/8x4/64x4")]
    response = server.client.post("/engines", params=query, content=toy_model(DOUBLE))
    assert response.status_code == 201, response.text
    assert [profile["max"] for profile in response.json()["inputs"][0]["profiles"]] == [[4, 4], [64, 4]]


def test_an_unknown_operator_is_named_with_its_node(server: Server) -> None:
    model = toy_model(f"{DOUBLE}\noperator Foo node foo_3")
    response = server.client.post("/engines", params=BUILT, content=model)
    assert response.status_code == 501, response.text
    assert "Foo" in response.json()["error"]
    assert "foo_3" in response.json()["error"]
    assert str(server.store) not in response.json()["error"]
    assert files(server) == []


@pytest.mark.parametrize(
    ("line", "status"), [("build_crash", 400), ("build_no_memory", 503), ("build_fail it does not work", 400)]
)
def test_whatever_a_build_does_the_server_answers_and_nothing_is_left(
    server: Server, line: str, status: int
) -> None:
    model = toy_model(f"{DOUBLE}\n{line}")
    response = server.client.post("/engines", params=BUILT, content=model)
    assert response.status_code == status, response.text
    assert files(server) == []
    location = accepted(server, model)
    failed = until_state(server, location, "FAILED")
    assert failed["reason"] == response.json()["error"]
    assert server.client.delete(location).status_code == 204
    assert files(server) == []
    assert server.client.post("/engines", params=BUILT, content=toy_model(DOUBLE)).status_code == 201


def test_a_plan_that_grows_over_the_limit_of_an_upload_is_refused(tmp_path: Path) -> None:
    model = toy_model(DOUBLE)
    options = ("--max-plan-bytes", str(len(model)))
    with Server(tmp_path / "store", *options, command=(*TRTSERVE, "serve")) as server:
        query = [*BUILT.items(), *(("profile", f"x:1x4/2x4/{most}x4") for most in range(2, 66))]
        response = server.client.post("/engines", params=query, content=model)
        assert response.status_code == 413, response.text
        assert response.json()["error"].startswith("The plan that was built is over")
        assert "--max-plan-bytes" in response.json()["error"]
        assert files(server) == []


def test_a_build_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    options = ("--build-timeout-s", "0.5")
    with Server(tmp_path / "store", *options, command=(*TRTSERVE, "serve")) as server:
        response = server.client.post("/engines", params=BUILT, content=slow("timeout"))
        assert response.status_code == 503
        assert "--build-timeout-s" in response.json()["error"]
        assert (files(server), children(server)) == ([], [])


def test_a_delete_ends_the_child(server: Server) -> None:
    location = accepted(server, slow("delete"))
    child = until_building(server, location)
    assert server.client.delete(location).status_code == 204
    assert not is_there(child)
    assert (files(server), server.client.get("/engines").json()) == ([], {"engines": []})


def test_a_killed_child_is_an_error_that_says_so(server: Server) -> None:
    location = accepted(server, slow("killed"))
    os.kill(until_building(server, location), signal.SIGKILL)
    assert "SIGKILL" in until_state(server, location, "FAILED")["reason"]
    assert len(files(server)) == 1  # the model


def test_a_stop_ends_the_child_and_a_start_builds_what_was_accepted(server: Server) -> None:
    location = accepted(server, slow("stop"))
    child = until_building(server, location)
    assert server.stop() == 0
    assert not is_there(child)
    server.start()
    assert server.client.get("/health/ready").status_code == 200
    until_building(server, location)
    assert server.client.delete(location).status_code == 204


def test_a_kill_of_the_server_ends_the_child_and_leaves_what_was_accepted(server: Server) -> None:
    location = accepted(server, toy_model(DOUBLE))
    until_state(server, location, "READY")
    building = accepted(server, slow("kill"), name="slow")
    child = until_building(server, building)
    server.kill()
    wait_until(lambda: not is_there(child), "the end of the child")
    server.start()
    server.wait_until_ready()
    assert answer(server) == [2, 4, 6, 8]
    until_building(server, building)


def test_a_kill_of_the_server_leaves_nothing_of_a_build_that_was_not_accepted(server: Server) -> None:
    def upload() -> None:
        url = str(server.client.base_url)
        with suppress(httpx.TransportError), httpx.Client(base_url=url, timeout=HANGS_AFTER_S) as client:
            client.post("/engines", params=BUILT, content=slow("gone"))

    client = threading.Thread(target=upload)
    client.start()
    wait_until(lambda: len(children(server)) == 1, "a child that builds")
    server.kill()
    client.join()
    server.start()
    server.wait_until_ready()
    assert (server.client.get("/engines").json(), files(server)) == ({"engines": []}, [])


def test_after_a_change_of_the_gpu_the_engine_is_built_again(server: Server) -> None:
    server.client.post("/engines", params=BUILT, content=toy_model(DOUBLE)).raise_for_status()
    before = server.client.get("/engines/net").json()
    server.stop()
    server.variables["FAKE_GPU"] = "Faster GPU"
    server.start()
    server.wait_until_ready()
    engine = server.client.get("/engines/net").json()
    assert (engine["id"], engine["version"]) == (before["id"], before["version"])
    assert engine["build"]["target"].endswith("Faster GPU")
    assert "It was built for" in engine["build"]["reason"]
    assert answer(server) == [2, 4, 6, 8]


# -- the command line


def trtserve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRTSERVE, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(toy_model(DOUBLE))
    return file


def test_the_command_builds_a_plan_that_a_server_loads(server: Server, model: Path) -> None:
    plan, cache = model.with_suffix(".plan"), model.with_suffix(".cache")
    result = trtserve("build", model, "-o", plan, "--profile", "x:1x4/2x4/4x4", "--timing-cache", cache)
    assert result.returncode == 0, result.stderr
    assert "built for TensorRT" in result.stdout
    response = server.client.post("/engines", params={"name": "net"}, content=plan.read_bytes())
    assert response.status_code == 201, response.text
    assert answer(server) == [2, 4, 6, 8]


@pytest.mark.parametrize(("given", "most"), [((), 16), (("--max-batch-size", "8"), 8)])
def test_the_command_builds_for_the_batches_that_an_upload_is_built_for(
    server: Server, model: Path, given: tuple[str, ...], most: int
) -> None:
    plan = model.with_suffix(".plan")
    result = trtserve("build", model, "-o", plan, *given)
    assert result.returncode == 0, result.stderr
    response = server.client.post("/engines", params={"name": "net"}, content=plan.read_bytes())
    assert response.status_code == 201, response.text
    assert response.json()["inputs"][0]["profiles"][0]["max"] == [most, 4]


def test_the_command_tells_a_failure_and_writes_nothing(model: Path) -> None:
    model.write_bytes(toy_model(f"{DOUBLE}\noperator Foo node foo_3"))
    result = trtserve("build", model, "-o", model.with_suffix(".plan"))
    assert result.returncode == 1
    assert "foo_3" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_nothing(model: Path, number: signal.Signals) -> None:
    model.write_bytes(slow(f"interrupted{number}"))
    plan = model.with_suffix(".plan")
    command = [*TRTSERVE, "build", str(model), "-o", str(plan)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def building() -> bool:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
            return any(b"runtime_ext.building" in command for command in commands)

        wait_until(building, "a child that builds")
        process.send_signal(number)
        _, said = process.communicate(timeout=HANGS_AFTER_S)
    assert process.returncode == 130, said
    assert "Cancelled: nothing was written." in said
    assert "Traceback" not in said
    assert list(model.parent.iterdir()) == [model]


def test_engines_ls_shows_a_build(server: Server) -> None:
    location = accepted(server, slow("listed"))
    until_building(server, location)
    listed = trtserve("engines", "ls", "--server", str(server.client.base_url))
    assert "BUILDING" in listed.stdout, listed.stderr


def test_engines_add_follows_a_build(server: Server, model: Path) -> None:
    url = str(server.client.base_url)
    result = trtserve("engines", "add", model, "--name", "net", "--backend", "tensorrt", "--server", url)
    assert result.returncode == 0, result.stderr
    assert "is READY: loaded in" in result.stdout
    assert answer(server) == [2, 4, 6, 8]
