"""The command line, against a server on a real socket with a fake runtime behind it."""

import json
import math
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import load_file, save_file

from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, Input, Output, TensorSpec
from tests.unit.cli.running import trtserve
from trtserve.cli.serve import serve
from trtserve.settings import Settings
from trtserve.store.store import Store


def test_the_command_prints_its_version() -> None:
    assert trtserve("--version").stdout.startswith("trtserve, version ")


def test_engines_are_added_listed_shown_and_removed(url: str, plan: Path) -> None:
    added = trtserve("engines", "add", plan, "--name", "lenet", "--instances", "2", "--server", url)
    assert added.exit_code == 0, added.output
    assert "Sending lenet.onnx" in added.stderr
    assert "loading" in added.stderr
    assert added.stdout.startswith("Engine ")
    assert "(lenet, version 1) is READY: loaded in" in added.stdout

    again = trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    assert "was there already" in again.stdout

    header, row = trtserve("engines", "ls", "--server", url).stdout.splitlines()
    assert header.split() == ["id", "name", "version", "state", "backend", "device", "instances"]
    assert row.split()[1:] == ["lenet", "1", "READY", "openvino", "cpu", "2"]

    shown = json.loads(trtserve("engines", "show", "lenet", "--server", url).stdout)
    assert str(shown["id"]) == row.split()[0]

    assert trtserve("engines", "rm", "lenet", "--server", url).stdout == "Removed lenet.\n"
    assert len(trtserve("engines", "ls", "--server", url).stdout.splitlines()) == 1


def test_the_list_of_engines_has_those_of_all_pages(url: str) -> None:
    for seed in range(101):
        httpx.post(f"{url}/engines", content=onnx_plan(seed)).raise_for_status()
    assert len(trtserve("engines", "ls", "--server", url).stdout.splitlines()) == 1 + 101


def test_names_are_listed_shown_and_moved(url: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / "net.onnx").write_bytes(onnx_plan(seed))
        trtserve("engines", "add", tmp_path / "net.onnx", "--name", "net", "--server", url)
    moved = trtserve("names", "set", "net", "1", "--server", url)
    assert (moved.exit_code, moved.stdout) == (0, "net is version 1 now.\n")

    header, *rows = trtserve("names", "ls", "--server", url).stdout.splitlines()
    assert header.split() == ["name", "version", "current", "id", "state"]
    assert rows[0].split()[:3] == ["net", "1", "*"]
    assert rows[1].split()[:2] == ["net", "2"]
    assert [row.split()[-1] for row in rows] == ["READY", "READY"]

    shown = json.loads(trtserve("names", "show", "net", "--server", url).stdout)
    assert (shown["current"], len(shown["versions"])) == (1, 2)
    refused = trtserve("names", "set", "net", "3", "--server", url)
    assert refused.exit_code == 1
    assert refused.stderr == "Error: 'net' has no version '3'. There is: 1, 2.\n"


def test_options_of_an_upload_request_batches(url: str, plan: Path) -> None:
    options = ["--max-batch-size", "8", "--max-queue-delay-us", "auto", "--latency-target-us", "4000"]
    options += ["--preferred-batch-sizes", "8,4", "--batch-dims", "x:1,y:1", "--name", "lenet"]
    added = trtserve("engines", "add", plan, *options, "--server", url)
    assert added.exit_code == 0, added.output
    shown = json.loads(trtserve("engines", "show", "lenet", "--server", url).stdout)
    assert (shown["max_batch_size"], shown["max_queue_delay_us"]) == (8, "auto")
    assert shown["latency_target_us"] == 4000
    assert shown["preferred_batch_sizes"] == [4, 8]
    assert shown["batch_dims"] == {"x": 1, "y": 1}

    refused = trtserve("engines", "add", plan, "--max-queue-delay-us", "soon", "--server", url)
    assert refused.exit_code == 1
    assert "from 0 to 10000000, or 'auto'" in refused.stderr


def test_the_environment_can_name_the_server(url: str) -> None:
    assert trtserve("engines", "ls", env={"TRTSERVE_URL": url}).exit_code == 0


def test_a_refusal_prints_the_servers_sentence(url: str, tmp_path: Path) -> None:
    missing = trtserve("engines", "show", "nothing", "--server", url)
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: There is no engine 'nothing'")

    file = tmp_path / "net.plan"
    file.write_bytes(tensorrt_plan())
    refused = trtserve("engines", "add", file, "--server", url)
    assert refused.exit_code == 1
    assert 'README, "On a GPU"' in refused.stderr


def test_an_unreachable_server_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = trtserve("engines", "ls", "--server", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "Is a server running there (trtserve serve)?" in result.stderr


@pytest.mark.parametrize(
    "url",
    ["ftp://localhost:8000", "http://host:port", "http://[::1", "http://xn--a.x", f"http://{'a' * 64}", ""],
)
def test_a_malformed_url_is_reported(url: str) -> None:
    result = trtserve("engines", "ls", "--server", url)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert url in result.stderr


def test_a_url_needs_no_scheme(url: str) -> None:
    assert trtserve("engines", "ls", "--server", url.removeprefix("http://")).exit_code == 0


def test_an_engine_is_run_on_npy_files(url: str, plan: Path, tmp_path: Path) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)

    summary = trtserve("infer", "lenet", "--input", f"x={tmp_path / 'x.npy'}", "--server", url)
    assert summary.exit_code == 0, summary.output
    assert summary.stdout == "y  FP32 [3, 4]  0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, …\n"

    out = tmp_path / "out.safetensors"
    written = trtserve(
        "infer", "lenet", "--input", f"x={tmp_path / 'x.npy'}", "--output", out, "--server", url
    )
    assert written.exit_code == 0, written.output
    np.testing.assert_array_equal(load_file(out)["y"], x)


def test_an_engine_is_run_on_a_safetensors_file(url: str, plan: Path, tmp_path: Path) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    file, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    x = np.ones((1, 4), dtype=np.float32)
    save_file({"x": x}, file)
    result = trtserve("infer", "lenet", "--input", file, "--output", out, "--server", url)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(load_file(out)["y"], x)


@pytest.mark.parametrize(
    "given",
    [
        "x.npy",
        "x=x.csv",
        "missing.npz",
        "missing.json",
        "=x.npy",
        "x=a.safetensors",
        "x=missing.npy",
        "missing.safetensors",
    ],
)
def test_a_wrong_input_is_reported(given: str) -> None:
    result = trtserve("infer", "lenet", "--input", given)
    assert result.exit_code == 2
    assert given.rpartition("=")[2] in result.stderr


X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_an_engine_is_run_on_one_file_with_all_inputs(
    url: str, plan: Path, tmp_path: Path, suffix: str
) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    file = tmp_path / f"in.{suffix}"
    if suffix == "npz":
        np.savez(file, x=X)
    else:
        file.write_text(json.dumps({"x": X.astype(int).tolist()}))  # FP32, because the engine says so
    result = trtserve("infer", "lenet", "--input", file, "--json", "--server", url)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outputs"][0]["data"] == X.ravel().tolist()


def test_a_json_file_may_be_the_body_of_a_request(url: str, plan: Path, tmp_path: Path) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": X.ravel().tolist()}
    (tmp_path / "in.json").write_text(json.dumps({"inputs": [tensor]}))
    result = trtserve("infer", "lenet", "--input", tmp_path / "in.json", "--server", url)
    assert result.stdout.startswith("y  FP32 [2, 4]  0.0, 1.0"), result.output


def test_outputs_are_written_in_the_form_of_the_files_name(url: str, plan: Path, tmp_path: Path) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    np.save(tmp_path / "x.npy", X)

    def written(name: str) -> Path:
        given = ["--input", f"x={tmp_path / 'x.npy'}", "--output", str(tmp_path / name)]
        result = trtserve("infer", "lenet", *given, "--server", url)
        assert result.exit_code == 0, result.output
        return tmp_path / name

    np.testing.assert_array_equal(np.load(written("out.npy")), X)
    np.testing.assert_array_equal(np.load(written("out.npz"))["y"], X)
    assert json.loads(written("out.json").read_text())["outputs"][0]["shape"] == [2, 4]


def answers_with(runtime: FakeRuntime, string: bytes) -> None:
    """Let engines of numbers answer with this string for each item."""

    def compute(inputs: Sequence[Input]) -> list[Output]:
        (_, _, (items, _), _), *_ = inputs
        return [Output.of("y", "BYTES", [items], (len(string).to_bytes(4, "little") + string) * items)]

    runtime.outputs, runtime.compute = [TensorSpec("y", "BYTES", [-1])], compute


def test_strings_are_written_in_the_form_of_the_files_name(
    url: str, runtime: FakeRuntime, plan: Path, tmp_path: Path
) -> None:
    answers_with(runtime, b"\xffok")
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    np.savez(tmp_path / "x.npz", x=X)
    save_file({"x": X}, tmp_path / "x.safetensors")

    def run(given: str, name: str) -> Result:
        files = ["--input", str(tmp_path / given), "--output", str(tmp_path / name)]
        return trtserve("infer", "lenet", *files, "--server", url)

    assert run("x.npz", "out.npy").exit_code == 0
    assert np.load(tmp_path / "out.npy").tolist() == [b"\xffok", b"\xffok"]
    assert run("x.safetensors", "out.npz").exit_code == 0
    assert np.load(tmp_path / "out.npz")["y"].tolist() == [b"\xffok", b"\xffok"]
    refused = run("x.npz", "out.safetensors")
    assert refused.exit_code == 2
    assert "A .safetensors has no strings (BYTES)" in " ".join(refused.stderr.split())
    answers_with(runtime, b"ok\0")
    refused = run("x.npz", "zero.npy")
    assert refused.exit_code == 2
    assert "'y' has a string that ends in a zero byte" in " ".join(refused.stderr.split())
    assert not (tmp_path / "zero.npy").exists()
    assert run("x.npz", "out.json").exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["outputs"][0]["data"] == ["ok\0", "ok\0"]


def test_an_engine_is_run_on_random_inputs(url: str, plan: Path) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    result = trtserve("infer", "lenet", "--random", "--server", url)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("y  FP32 [1, 4]  0.")


def takes_strings(runtime: FakeRuntime, shape: list[int]) -> list[bytes]:
    """Let engines answer with the strings that they get, which are in the list then as they came."""
    came: list[bytes] = []

    def compute(inputs: Sequence[Input]) -> list[Output]:
        (_, _, dims, data), *_ = inputs
        came.append(bytes(data))
        return [Output.of("y", "BYTES", dims, b"\2\0\0\0ok" * math.prod(dims))]

    runtime.inputs, runtime.outputs = [TensorSpec("x", "BYTES", shape)], [TensorSpec("y", "BYTES", shape)]
    runtime.compute = compute
    return came


JPEG = b"\xff\xd8\xff\xe0 a photo"


@pytest.mark.parametrize("shape", [[-1], [1], [-1, 1], []])
def test_a_file_is_the_one_string_of_an_input(
    url: str, runtime: FakeRuntime, plan: Path, tmp_path: Path, shape: list[int]
) -> None:
    came = takes_strings(runtime, shape)
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(JPEG)
    result = trtserve("infer", "lenet", "--input", f"x={photo}", "--server", url)
    assert result.stdout == f"y  BYTES {[1] * len(shape)}  ok\n", result.output
    assert came == [len(JPEG).to_bytes(4, "little") + JPEG]


def test_a_file_that_cannot_be_the_string_of_an_input_is_reported(
    url: str, runtime: FakeRuntime, plan: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(JPEG)
    trtserve("engines", "add", plan, "--name", "numbers", "--server", url)
    takes_strings(runtime, [-1, 3])
    other = tmp_path / "other.onnx"
    other.write_bytes(onnx_plan(2))
    trtserve("engines", "add", other, "--name", "three", "--server", url)
    for name, ref, told in (
        ("x", "numbers", "and 'x' is FP32."),
        ("z", "numbers", "and the engine has no input 'z'."),
        ("x", "three", "is one string, and 'x' takes [1, 3] of them: give a .json or .npy."),
    ):
        result = trtserve("infer", ref, "--input", f"{name}={photo}", "--server", url)
        assert result.exit_code == 2
        assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize("file", ["x.json", "x.npy", "x.npz"])
def test_strings_are_read_from_files_of_tensors(
    url: str, runtime: FakeRuntime, plan: Path, tmp_path: Path, file: str
) -> None:
    came = takes_strings(runtime, [-1])
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    words = ["a", "hören"]
    (tmp_path / "x.json").write_text(json.dumps({"x": words}))
    np.save(tmp_path / "x.npy", np.array(words))
    np.savez(tmp_path / "x.npz", x=np.array([word.encode() for word in words]))
    given = f"x={tmp_path / file}" if file == "x.npy" else str(tmp_path / file)
    result = trtserve("infer", "lenet", "--input", given, "--json", "--server", url)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outputs"][0]["data"] == ["ok", "ok"]
    assert came == [b"\1\0\0\0a\6\0\0\0h\xc3\xb6ren"]


def test_random_inputs_may_be_strings(url: str, runtime: FakeRuntime, plan: Path) -> None:
    came = takes_strings(runtime, [-1, 2])
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    assert trtserve("infer", "lenet", "--random", "--server", url).exit_code == 0
    assert re.fullmatch(rb"(\x08\0\0\0[a-z]{8}){2}", came[0])


def test_a_wrong_place_for_outputs_is_reported(url: str, plan: Path, tmp_path: Path) -> None:
    trtserve("engines", "add", plan, "--name", "lenet", "--server", url)
    nowhere = tmp_path / "missing" / "out.npy"
    result = trtserve("infer", "lenet", "--random", "--output", nowhere, "--server", url)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {nowhere}: No such file or directory.\n"
    result = trtserve("infer", "lenet", "--random", "--output", tmp_path / "out.csv", "--server", url)
    assert result.exit_code == 2
    assert ".npy, .npz, .json, .safetensors" in result.stderr


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
def test_a_damaged_file_of_inputs_is_reported(tmp_path: Path, content: bytes) -> None:
    for name in ("x.npz", "x.json", "x.npy"):
        (tmp_path / name).write_bytes(content)
        given = f"x={tmp_path / name}" if name == "x.npy" else str(tmp_path / name)
        result = trtserve("infer", "lenet", "--input", given)
        assert result.exit_code == 2
        assert f"{tmp_path / name} cannot be read" in " ".join(result.stderr.split())


# -- trtserve serve


def test_every_setting_is_an_option() -> None:
    shown = trtserve("serve", "--help").stdout
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in shown
        assert f"TRTSERVE_{name.upper()};" in shown.replace("\n", " ").replace("  ", "")


def test_a_wrong_setting_is_named_by_its_option_and_its_variable() -> None:
    result = trtserve("serve", "--port", "http")
    assert result.exit_code == 2
    assert "--port or TRTSERVE_PORT: " in result.stderr
    result = trtserve("serve", "--trial-load", "maybe")
    assert result.exit_code == 2
    assert "--trial-load or TRTSERVE_TRIAL_LOAD: " in result.stderr
    result = trtserve("serve", "--max-queue-delay-us", "soon")
    assert result.exit_code == 2
    assert "--max-queue-delay-us or TRTSERVE_MAX_QUEUE_DELAY_US: Input should be a" in result.stderr
    result = trtserve("serve", env={"TRTSERVE_DRAIN_S": "-1"})
    assert result.exit_code == 2
    assert "--drain-s or TRTSERVE_DRAIN_S: " in result.stderr


def test_a_store_in_use_is_reported_in_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    result = trtserve("serve", "--store", tmp_path / "store")
    store.close()
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: The store ")
    assert "in use by another server" in result.stderr


def test_poll_is_short_for_the_control_mode_that_polls() -> None:
    for given, mode in (["--poll"], "poll"), (["--model-control-mode", "explicit"], "explicit"), ([], None):
        assert serve.make_context("serve", given).params["model_control_mode"] == mode
