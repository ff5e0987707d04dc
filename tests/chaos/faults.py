"""What is done to the server. Each fault ends with the server up, and World.check has asked it."""

import errno
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

import runtime_ext.operators  # noqa: F401  the operators that a module calls
from tests.chaos.world import World
from tests.e2e.server import SERVE, environment
from tests.e2e.test_modules import SIDE as MODULE_SIDE
from tests.e2e.test_modules import Pipeline, archive, expected, network
from tests.e2e.test_modules import X as MODULE_X
from tests.e2e.test_residency import OPTIONS, model
from tests.fakes.tensorrt import toy_model
from tests.waiting import wait_until

Fault = Callable[[World], None]
DOUBLE = "input x FP32 -1 4\noutput y scale x 2"


def kill(world: World) -> None:
    """SIGKILL, at any moment."""
    _wait(world)
    world.ends()
    world.server.kill()
    world.begins_again()


def kill_during_an_upload(world: World) -> None:
    """The upload is there whole, or not at all."""
    number = world.chance.randrange(100, 10**6)
    client = world.client()

    def upload() -> None:
        try:
            headers = {"Authorization": world.token}
            params = {"name": "open", **OPTIONS}
            answer = client.post("/engines", params=params, content=model(number), headers=headers)
        except httpx.TransportError:
            return
        if answer.status_code == 201:
            world.promise("open", number)

    thread = threading.Thread(target=upload)
    thread.start()
    time.sleep(world.chance.random() * 0.3)
    world.ends()
    world.server.kill()
    thread.join()
    client.close()
    world.begins_again()
    if "open" in world.known():
        remove(world, "open")


def kill_during_a_start(world: World) -> None:
    """A second kill, while the next server loads its engines."""
    world.ends()
    world.server.kill()
    world.server.start()
    time.sleep(world.chance.random())
    world.server.kill()
    world.begins_again()


def kill_during_a_build(world: World) -> None:
    """A model whose build does not end is built by the next server, and its removal ends the build."""
    gated = toy_model(f"{DOUBLE}\nbuild_gate chaos-{world.chance.random()}")
    params = {"name": "built", "backend": "tensorrt", "max_batch_size": "8"}
    client = world.server.client
    answer = client.post("/engines", params=params, content=gated, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    world.promise("built", -1)
    world.ends()
    world.server.kill()
    # It never becomes ready with that build, so the check waits for its removal.
    world.server.start()
    remove(world, str(answer.json()["id"]), name="built")
    world.server.kill()
    world.begins_again()


def terminate(world: World) -> None:
    """SIGTERM: the server ends in time, with 0, and leaves nothing."""
    _wait(world)
    world.ends()
    code = world.server.stop()
    if code != 0:
        world.fault(f"a stopped server ended with {code}")
    left = [path.name for path in world.temporary.iterdir()]
    if left:
        world.fault(f"left in the temporary folder: {left}")
    world.begins_again()


def freeze(world: World) -> None:
    """SIGSTOP and SIGCONT: requests wait, and are right afterwards."""
    world.server.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2 + world.chance.random())
    world.server.process.send_signal(signal.SIGCONT)
    world.check()


def rotate_token(world: World) -> None:
    world.rotate_token()


def rotate_certificate(world: World) -> None:
    """A new certificate of the same authority."""
    world.certificates.write()
    with world.client() as client:
        client.get("/health/live").raise_for_status()


def second_process(world: World) -> None:
    """Another server on the same store gives up, and a check of the store refuses."""
    store = ("--store", str(world.server.store))
    for command in (
        (*SERVE, "serve", "--port", "0", "--grpc-port", "off", *store),
        (*SERVE, "store", "check", *store),
    ):
        ended = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        if ended.returncode == 0 or "in use by another server" not in ended.stderr + ended.stdout:
            world.fault(f"a second process: {ended.returncode} {ended.stderr[-300:]}")


def back_up(world: World) -> None:
    """A backup during the load has every promised name."""
    target = world.folder / "backup"
    command = (*SERVE, "store", "backup", "--store", str(world.server.store), str(target))
    ended = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    if ended.returncode != 0:
        world.fault(f"no backup: {ended.stderr[-300:]}{ended.stdout[-300:]}")
    shutil.rmtree(target, ignore_errors=True)


def add_and_remove(world: World) -> None:
    """Engines that come and go push others out of memory."""
    for name in ("one", "two"):
        world.upload(name, world.chance.randrange(100, 10**6))
    world.check()
    for name in ("one", "two"):
        remove(world, name)


def module(world: World) -> None:
    """A module that calls an engine answers rightly before and after a kill."""
    client = world.server.client
    for name, plan in (("net", network()), ("pipeline", archive(Pipeline()))):
        answer = client.post("/engines", params={"name": name}, content=plan)
        assert answer.status_code == 201, answer.text
        world.promise(name, -1)
    kill(world)
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [2, MODULE_SIDE], "data": MODULE_X.flatten().tolist()}
    ]
    answer = world.server.client.post("/v2/models/pipeline/infer", json={"inputs": inputs})
    if (
        answer.status_code != 200
        or answer.json()["outputs"][1]["data"] != expected(MODULE_X)[1].flatten().tolist()
    ):
        world.fault(f"the module answers {answer.status_code} {answer.text[:300]}")
    for name in ("pipeline", "net"):
        remove(world, name)


def fill_the_disk(world: World) -> None:
    """A full disk refuses uploads alone; removals work on it, and uploads once it is free again."""
    world.upload("victim", world.chance.randrange(100, 10**6))
    filler = world.server.store.parent / "filler"
    try:
        _fill(filler)
        params = {"name": "refused"} | OPTIONS
        answer = world.server.client.post("/engines", params=params, content=model(99))
        if answer.status_code != 503:
            world.fault(f"an upload to a full disk: {answer.status_code} {answer.text}")
        remove(world, "victim")
        if world.chance.random() < 0.5:
            kill(world)
    finally:
        filler.unlink(missing_ok=True)
    world.upload("after", world.chance.randrange(100, 10**6))
    remove(world, "after")
    world.check()


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as failure:
                assert failure.errno == errno.ENOSPC  # noqa: PT017  every other error is the disk's


def remove(world: World, ref: str, *, name: str | None = None) -> None:
    """Remove an engine; its name is gone when that is answered."""
    found: list[httpx.Response] = []

    def removed() -> bool:
        found[:] = [world.server.client.delete(f"/engines/{ref}")]
        return found[0].status_code != 503  # busy with a move: try again

    wait_until(removed, f"the removal of {ref}")
    if not found[0].is_success:
        world.fault(f"{ref} cannot be removed: {found[0].status_code} {found[0].text}")
    world.release(name or ref)


def _wait(world: World) -> None:
    """So that the fault hits the load at another moment each time."""
    time.sleep(world.chance.random())


ON_ANY_DISK: tuple[Fault, ...] = (
    *(kill, kill, kill_during_an_upload, kill_during_an_upload, kill_during_a_start, kill_during_a_build),
    *(terminate, freeze, rotate_token, rotate_certificate, second_process, back_up, add_and_remove, module),
)
