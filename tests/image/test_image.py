"""What the CPU image has and lacks, and that it serves, stops and starts again."""

import json
import re
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import tritonclient.grpc

from tests.image.conftest import Served
from tests.image.container import Container

BUILD_TOOLS = re.compile(r"(.*-)?(cc|c\+\+|gcc|g\+\+|cpp|ld|as|make|cmake|ninja|pip|ccache|protoc)[0-9.-]*")
LEFT_BY_BUILDS = ("/root/.cache", "/tmp", "/src", "/requirements", "/var/lib/apt/lists", "/var/cache")
INSTALLED = """
from importlib.metadata import distributions
print(*sorted({f'{found.metadata["Name"]} {found.version}' for found in distributions()}), sep="\\n")
"""
TENSORS = {
    "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
    "outputs": [{"name": "classes", "datatype": "FP32", "shape": [-1, 10]}],
}
MOST_BYTES = 1_000_000_000


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 4, 3)
        self.linear = torch.nn.Linear(4 * 6 * 6, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.linear(torch.relu(self.convolution(images)).flatten(1)), 1)


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def model(net: Net, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    torch.onnx.export(
        net,
        (torch.zeros(2, 1, 8, 8),),
        path,
        input_names=["images"],
        output_names=["classes"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
    )
    return path.read_bytes()


IMAGES = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)


def answer(client: httpx.Client) -> np.ndarray:
    given = {"name": "images", "shape": IMAGES.shape, "datatype": "FP32", "data": IMAGES.tolist()}
    answered = client.post("/v2/models/net/infer", json={"inputs": [given]})
    assert answered.status_code == 200, answered.text
    (output,) = answered.json()["outputs"]
    return np.asarray(output["data"], np.float32).reshape(output["shape"])


def test_the_image_asks_for_an_unprivileged_user_a_volume_and_a_check(container: Container) -> None:
    config = container.config
    assert config["User"] == "10001:10001"
    assert set(config["Volumes"]) == {"/var/lib/trtserve"}
    assert set(config["ExposedPorts"]) == {"8000/tcp", "8001/tcp"}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert [*config["Entrypoint"], *config["Cmd"]] == ["trtserve", "serve"]


def test_it_serves_what_pytorch_answers_over_http_and_grpc_and_after_a_restart(
    served: Served, net: Net, model: bytes
) -> None:
    with torch.no_grad():
        right = net(torch.from_numpy(IMAGES)).numpy()
    served.client.post("/engines", params={"name": "net"}, content=model).raise_for_status()
    np.testing.assert_allclose(answer(served.client), right, rtol=1e-4, atol=1e-6)

    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        given = tritonclient.grpc.InferInput("images", IMAGES.shape, "FP32")
        given.set_data_from_numpy(IMAGES)
        over_grpc = client.infer("net", [given]).as_numpy("classes")
    np.testing.assert_allclose(over_grpc, right, rtol=1e-4, atol=1e-6)

    assert served.container.stop() == 0
    served.start()
    np.testing.assert_allclose(answer(served.client), right, rtol=1e-4, atol=1e-6)


def test_it_serves_a_torchscript_module(served: Served, net: Net, tmp_path: Path) -> None:
    torch.jit.trace(net, torch.zeros(2, 1, 8, 8)).save(tmp_path / "net.pt")
    params = {"name": "net", "tensors": json.dumps(TENSORS)}
    answered = served.client.post("/modules", params=params, content=(tmp_path / "net.pt").read_bytes())
    assert answered.status_code == 201, answered.text
    with torch.no_grad():
        right = net(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(answer(served.client), right, rtol=1e-4, atol=1e-6)


def test_its_health_check_follows_the_server(served: Served) -> None:
    check = served.container.config["Healthcheck"]["Test"][1:]
    assert served.container.execute(*check).returncode == 0
    elsewhere = ["env", "TRTSERVE_PORT=1", *check]
    assert served.container.execute(*elsewhere).returncode != 0
    assert served.client.get("/health/live").status_code == 200


def test_it_runs_without_rights_on_a_root_that_it_cannot_write(served: Served) -> None:
    told = served.container.execute("cat", "/proc/1/status").stdout
    assert re.search(r"^Uid:\s+10001\s+10001\s+10001\s+10001$", told, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", told, re.MULTILINE)
    for place in ("/opt/trtserve/x", "/etc/x", "/x"):
        assert "Read-only file system" in served.container.execute("touch", place).stderr
    assert "Traceback" not in served.container.log


def test_sigterm_lets_requests_finish_and_ends_with_success(served: Served, net: Net, model: bytes) -> None:
    served.client.post("/engines", params={"name": "net"}, content=model).raise_for_status()
    with torch.no_grad():
        right = net(torch.from_numpy(IMAGES)).numpy()
    answers: list[np.ndarray] = []
    answered = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=served.client.base_url, timeout=60) as client:
            try:
                while True:
                    answers.append(answer(client))
                    answered.set()
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                return  # it has stopped

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    assert answered.wait(60)
    assert served.container.stop() == 0
    for client in clients:
        client.join()
    for one in answers:
        np.testing.assert_allclose(one, right, rtol=1e-4, atol=1e-6)


def test_on_all_addresses_it_starts_only_once_somebody_has_decided_who_may_do_what(
    container: Container, store: Path
) -> None:
    container.start(store)
    assert container.ended() == 1
    assert "TRTSERVE_TOKEN_FILE" in container.log


def test_it_has_no_compiler_no_package_manager_of_python_and_no_cache(served: Served) -> None:
    folders = ("/usr/bin", "/usr/local/bin", "/opt/trtserve/bin")
    listing = served.container.execute("find", *folders, "-printf", "%f\n")
    assert [name for name in listing.stdout.split() if BUILD_TOOLS.fullmatch(name)] == []
    left = served.container.execute("find", *LEFT_BY_BUILDS, "-type", "f").stdout
    assert [file for file in left.split() if not file.startswith("/tmp/")] == []
    cuda = served.container.execute("find", "/opt", "-name", "*cuda*.so*")
    assert cuda.stdout == ""


def test_it_is_small(served: Served) -> None:
    told = served.container.execute("du", "--summarize", "--bytes", "--one-file-system", "/opt", "/usr")
    assert sum(int(line.split()[0]) for line in told.stdout.splitlines()) < MOST_BYTES


def test_its_bill_of_materials_lists_every_package(served: Served) -> None:
    bill = json.loads(served.container.execute("cat", "/opt/trtserve/sbom.cdx.json").stdout)
    listed = {(one["purl"].split("/")[0], one["name"], one["version"]) for one in bill["components"]}
    installed = served.container.execute("python", "-c", INSTALLED).stdout.splitlines()
    python = {("pkg:pypi", *line.split(" ")) for line in installed if not line.startswith("trtserve ")}
    debian = served.container.execute("dpkg-query", "--show", "--showformat=${Package} ${Version}\n").stdout
    assert listed == python | {("pkg:deb", *line.split(" ")) for line in debian.splitlines()}
    assert {"torch", "openvino", "libc6"} <= {name for _, name, _ in listed}
    assert bill["metadata"]["component"]["name"] == "trtserve"
