"""`trtserve tune --server`: an engine that a server has is tuned in place."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime_ext import AUTO_DELAY
from tests.fakes.runtime import FakeRuntime, LoadOptions, ShapeRange, TensorSpec
from tests.fakes.values import EngineInfo, error
from tests.unit.cli.running import trtserve
from trtserve.client import Client
from trtserve.tune.report import Row
from trtserve.tune.served import tune_served
from trtserve.tune.target import Setting
from trtserve.tune.tuning import Report

SHORT = ("--concurrency", "1,4", "--instances", "1", "--batch", "1,4", "--delay-us", "auto", "--budget", "1")
SLOW = ("--latency-ms", "10000")


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, attempts=1) as made:
        yield made


@pytest.fixture
def net(client: Client, plan: Path) -> dict[str, Any]:
    return client.add(
        plan, name="net", instances=2, max_batch_size=8, preferred_batch_sizes="2,8", max_queue_size=3
    )


def options(engine: dict[str, Any]) -> dict[str, Any]:
    names = ("instances", "max_batch_size", "max_queue_delay_us", "latency_target_us", "max_queue_size")
    return {name: engine[name] for name in (*names, "preferred_batch_sizes", "asked")}


def tuned(client: Client, *more: str) -> dict[str, Any]:
    result = trtserve("tune", "net", "--server", client.url, *SHORT, *SLOW, *more, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


class Silent:
    """A watcher that nobody hears."""

    def say(self, sentence: str) -> None: ...
    def visit(self, round: str, setting: Setting, spent: float) -> None: ...
    def improved(self, row: Row) -> None: ...


def searched(client: Client) -> Report:
    """A search whose time is never over, however slow the machine."""
    asked = {
        "latency_ms": 10_000.0,
        "concurrency": (1, 4),
        "budget_s": 0.5,
        "instances": (1,),
        "batch": (1, 4),
        "delay_us": ("auto",),
    }
    return tune_served(client, "net", asked, Silent(), apply=False, clock=lambda: 0.0)


def test_each_setting_is_measured_on_the_server_and_the_former_options_come_back(
    client: Client, net: dict[str, Any], runtime: FakeRuntime
) -> None:
    rows = searched(client).rows
    assert {(row.setting, row.concurrency) for row in rows} == {
        (Setting(1, 1, 0), 1), (Setting(1, 1, 0), 4), (Setting(1, 4, "auto"), 1), (Setting(1, 4, "auto"), 4),
    }  # fmt: skip
    samples = [row.sample for row in rows]
    assert all(sample.throughput > 0 and 0 < sample.p50_ms <= sample.p99_ms for sample in samples)
    assert {sample.mean_batch for sample in samples} == {1.0}
    loads = {
        (
            loaded.batch.max_batch_size,
            loaded.batch.max_queue_delay_us,
            loaded.max_queue_size,
            loaded.instances,
        )
        for *_, loaded in runtime.loads
    }
    assert {(1, 0, 4, 1), (4, AUTO_DELAY, 4, 1)} <= loads  # its queue holds what is outstanding
    assert options(client.engine("net")) == options(net)


def test_what_was_left_to_the_server_is_left_to_it_again(client: Client, plan: Path) -> None:
    client.add(plan, name="net")
    asked = client.engine("net")["asked"]
    assert asked["max_batch_size"] == "auto"
    tuned(client)
    assert client.engine("net")["asked"] == asked


def test_the_best_setting_stays_if_it_is_asked_for(client: Client, net: dict[str, Any]) -> None:
    told = tuned(client, "--apply")
    engine = client.engine("net")
    assert engine["instances"] == told["best"]["instances"] == 1
    assert engine["max_batch_size"] == told["best"]["max_batch_size"]


def test_the_command_gives_the_engine_the_best_setting(client: Client, net: dict[str, Any]) -> None:
    told = tuned(client)
    (command,) = told["commands"]
    program, *words = shlex.split(command)
    assert program == "trtserve"
    result = trtserve(*words, "--json")
    assert result.exit_code == 0, result.output
    engine = json.loads(result.stdout)
    assert engine["instances"] == 1
    assert engine["max_batch_size"] == told["best"]["max_batch_size"]
    nothing = tuned(client, "--batch", str(engine["max_batch_size"]))
    assert nothing["commands"] == []


def test_an_interrupt_gives_the_former_options_back(
    client: Client, net: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("trtserve.tune.served.load", interrupted)
    result = trtserve("tune", "net", "--server", client.url, *SHORT)
    assert result.exit_code == 130
    assert "Stopped before the end." in result.stdout
    assert options(client.engine("net")) == options(net)


class Unbatched(FakeRuntime):
    """Refuses batches as the core does, once a test says why."""

    why_not: str | None = None

    def load(self, id: int, plan: str, backend: str, options: LoadOptions) -> EngineInfo:
        if self.why_not is not None and options.batch.max_batch_size > 1:
            raise error("InvalidInput", self.why_not)
        return super().load(id, plan, backend, options)


class TestUnbatched:
    @pytest.fixture
    def runtime(self) -> Unbatched:
        return Unbatched()

    def test_an_engine_that_does_not_get_its_options_back_is_an_error_with_the_command(
        self, client: Client, net: dict[str, Any], runtime: Unbatched
    ) -> None:
        runtime.why_not = "max_batch_size is 4, but input 'x' is fixed"
        result = trtserve("tune", "net", "--server", client.url, *SHORT, *SLOW, "--json")
        assert result.exit_code == 1  # its former options had batches, so it does not get them back
        assert "So the engine has other options than before. To give it those: trtserve engines set net" in (
            result.stderr
        )


def test_larger_batches_than_the_profiles_take_are_left_out(
    client: Client,
    plan: Path,
    runtime: FakeRuntime,
) -> None:
    runtime.inputs = [TensorSpec("x", "FP32", [-1, 4], [ShapeRange([1, 4], [1, 4], [2, 4])])]
    client.add(plan, name="net")
    report = searched(client)
    assert {row.setting.max_batch_size for row in report.rows} == {1, 2}
    assert report.notes == ["The engine takes 2 items at most: larger batches were left out."]


def test_requests_that_fail_are_told(client: Client, net: dict[str, Any], runtime: FakeRuntime) -> None:
    done = []
    compute = runtime.compute

    def fail(inputs: object) -> object:
        done.append(inputs)
        if len(done) > 1:
            raise error("ExecutionFailed", "the engine broke")
        return compute(inputs)  # type: ignore[arg-type]

    runtime.compute = fail  # type: ignore[assignment, method-assign]
    result = trtserve("tune", "net", "--server", client.url, *SHORT)
    assert result.exit_code == 1
    assert "requests failed at concurrency 1: The engine broke." in result.stderr
    assert options(client.engine("net")) == options(net)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--apply",), 2, "--apply goes with --server."),
        (("--server", "SERVER", "--store", "here"), 2, "--store and --format do not go with --server."),
        (("--server", "SERVER", "--shape", "z:1"), 1, "no input 'z'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: Client, net: dict[str, Any], words: tuple[str, ...], code: int, told: str
) -> None:
    given = [client.url if word == "SERVER" else word for word in words]
    result = trtserve("tune", "net", *given)
    assert result.exit_code == code
    assert told in result.stderr


def test_an_engine_that_is_not_loaded_is_not_measured(client: Client, net: dict[str, Any]) -> None:
    client.unload("net")
    for command in ("tune", "bench"):
        result = trtserve(command, "net", "--server", client.url)
        assert result.exit_code == 1
        assert "is UNLOADED, so its inputs are not known: load it first" in result.stderr
