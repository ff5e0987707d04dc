"""`trtserve tune`: the measured settings, their order, and the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runtime_ext import AUTO_DELAY
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, LoadOptions, ShapeRange, TensorSpec
from tests.fakes.values import EngineInfo, error
from tests.seam.models import doubling
from tests.unit.tuning import ASKED, ONE, TWO, parsed
from trtserve.cli.main import main
from trtserve.errors import InvalidInput, TrtserveError
from trtserve.settings import Settings
from trtserve.tune.closed_loop import Sample
from trtserve.tune.sweep import ROUNDS, Report, Sweep, choose_settings, most_items, tune
from trtserve.tune.target import Setting


def ignore(_: str) -> None: ...


# -- the settings


def test_settings_are_all_combinations_except_delays_without_batches() -> None:
    assert choose_settings(ASKED, None) == [
        Setting(1, 1, 0), Setting(1, 4, 0), Setting(1, 4, "auto"),
        Setting(2, 1, 0), Setting(2, 4, 0), Setting(2, 4, "auto"),
    ]  # fmt: skip


def test_batches_are_no_larger_than_the_profiles_allow() -> None:
    asked = replace(ASKED, instances=[1], batch=[1, 4, 16, 64], delay_us=[500])
    assert choose_settings(asked, 8) == [Setting(1, 1, 0), Setting(1, 4, 500), Setting(1, 8, 500)]
    assert choose_settings(asked, 1) == [Setting(1, 1, 0)]


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ([], None),
        ([ShapeRange([1, 4], [1, 4], [-1, 4])], None),
        ([ShapeRange([1, 4], [1, 4], [8, 4]), ShapeRange([8, 4], [8, 4], [32, 4])], 32),
        ([ShapeRange([1, 4], [1, 4], [8, 4]), ShapeRange([1, 4], [1, 4], [-1, 4])], None),
    ],
)
def test_the_largest_batch_comes_from_the_largest_profile(
    profiles: list[ShapeRange], expected: int | None
) -> None:
    info: Any = EngineInfo(7, "", "openvino", "cpu", 1, 256, [TensorSpec("x", "FP32", [-1, 4], profiles)], [])
    assert most_items(info, {}) == expected


# -- measuring


class FakeBench:
    """Returns the measurements that a test sets, and records the order of calls."""

    def __init__(self, load_seconds: float = 0.0) -> None:
        self.load_seconds = load_seconds
        self.asked: list[tuple[Setting, int, float]] = []
        self.loads: list[Setting] = []
        self.failing: dict[Setting, BaseException] = {}

    @contextmanager
    def loaded(self, setting: Setting) -> Iterator[float]:
        self.loads.append(setting)
        yield self.load_seconds

    def measure(self, concurrency: int, seconds: float) -> Sample:
        setting = self.loads[-1]
        self.asked.append((setting, concurrency, seconds))
        if setting in self.failing:
            raise self.failing[setting]
        return Sample(float(len(self.asked)), 1.0, 2.0, 1.0)


def test_cheap_loads_are_measured_in_rounds_over_all_settings() -> None:
    bench = FakeBench()
    sweep = Sweep(bench, [ONE, TWO], ASKED, ignore)
    sweep.run()
    assert bench.loads == [ONE, TWO] * ROUNDS
    warm_up, *first_visit = bench.asked[:3]
    assert warm_up == (ONE, 8, 0.25)
    assert first_visit == [(ONE, 1, 1.0), (ONE, 8, 1.0)]
    # Of three measurements after each load, the second and third count; the median is the second round's.
    assert [row.sample.throughput for row in sweep.outcomes[0].rows()] == [8.0, 9.0]


def test_a_setting_with_a_slow_load_is_loaded_once() -> None:
    bench = FakeBench(load_seconds=20.0)
    Sweep(bench, [ONE, TWO], ASKED, ignore).run()
    assert bench.loads == [ONE, TWO]
    measured = [concurrency for setting, concurrency, _ in bench.asked if setting == ONE]
    assert measured == [8, *[1, 8] * ROUNDS]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("no memory is left", "No memory is left."),
        ("max_batch_size is 8, but …", "max_batch_size is 8, but …"),
    ],
)
def test_a_failed_setting_does_not_stop_the_others(words: str, printed: str) -> None:
    said: list[str] = []
    bench = FakeBench()
    bench.failing[ONE] = error("Unavailable", words)
    sweep = Sweep(bench, [ONE, TWO], ASKED, said.append)
    sweep.run()
    assert bench.loads == [ONE, *[TWO] * ROUNDS]
    assert [outcome.failure for outcome in sweep.outcomes] == [printed, None]
    assert said[:3] == [
        "2 settings at concurrency 1, 8, 3 rounds of 1 s: about 16 s, besides the loads.",
        "round 1/3, 1/2: instances 1, max_batch_size 1, max_queue_delay_us 0",
        printed,
    ]


def test_measurements_before_an_interrupt_are_kept() -> None:
    bench = FakeBench()
    bench.failing[TWO] = KeyboardInterrupt()
    sweep = Sweep(bench, [ONE, TWO], ASKED, ignore)
    with pytest.raises(KeyboardInterrupt):
        sweep.run()
    assert [len(outcome.rows()) for outcome in sweep.outcomes] == [2, 0]


# -- the whole command, on the fake runtime


class Batching(FakeRuntime):
    """A runtime that refuses batches as the core does, if a test gives a reason."""

    def __init__(self, why_not: str | None = None) -> None:
        super().__init__()
        self.why_not = why_not

    def load(self, id: int, plan: str, backend: str, options: LoadOptions) -> EngineInfo:
        if self.why_not is not None and options.batch.max_batch_size > 1:
            raise error("InvalidInput", self.why_not)
        return super().load(id, plan, backend, options)


def tuned(plan: Path, runtime: FakeRuntime, **asked: Any) -> Report:
    time = iter(range(1_000_000))
    wanted = replace(ASKED, **asked)
    clock = lambda: next(time)  # noqa: E731
    return tune(str(plan), wanted, Settings(), runtime=runtime, say=ignore, clock=clock)  # type: ignore[arg-type]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_plan())
    return path


def test_each_setting_is_a_load_with_its_options(plan: Path) -> None:
    runtime = FakeRuntime()
    report = tuned(plan, runtime, concurrency=[1, 300], instances=[2])
    assert report.complete
    assert len(report.lines) == 1 + 3 * 2 + 1 + 2  # header, settings at each concurrency, empty, advice
    assert parsed(report.lines[-1])["max_queue_size"] == 300
    options = [options for *_, options in runtime.loads[1:]]
    assert [(o.batch.max_batch_size, o.batch.max_queue_delay_us) for o in options[:3]] == [
        (1, 0), (4, 0), (4, AUTO_DELAY),
    ]  # fmt: skip
    assert {(o.instances, o.max_queue_size, o.batch.latency_target_us) for o in options} == {(2, 300, 10_000)}
    assert runtime.engines() == []


def test_an_engine_that_refuses_batches_is_measured_without_them_and_the_reason_printed(plan: Path) -> None:
    report = tuned(plan, Batching("max_batch_size is 4, but input 'x' is fixed"), instances=[1])
    assert [line.split()[1] for line in report.lines[1:3]] == ["1", "1"]
    assert "Measured without batches only: max_batch_size is 4, but input 'x' is fixed." in report.lines
    assert parsed(report.lines[-1])["max_batch_size"] == 1


def test_batches_too_large_for_the_engine_are_left_out_with_a_message(plan: Path) -> None:
    runtime = FakeRuntime()
    runtime.inputs = [TensorSpec("x", "FP32", [-1, 4], [ShapeRange([1, 4], [1, 4], [2, 4])])]
    report = tuned(plan, runtime)
    assert "The engine takes 2 items at most: larger batches were left out." in report.lines


def test_a_plan_that_fails_to_load_is_reported(plan: Path) -> None:
    runtime = FakeRuntime()
    runtime.load_error = error("InvalidInput", "the model is damaged")
    with pytest.raises(InvalidInput, match=r"net\.onnx cannot be measured: the model is damaged\."):
        tuned(plan, runtime)


def test_an_engine_that_always_fails_is_reported(plan: Path) -> None:
    runtime = FakeRuntime()

    def fail(_: object) -> Any:
        raise error("ExecutionFailed", "the engine broke")

    runtime.compute = fail
    with pytest.raises(TrtserveError, match=r"No setting could be measured. .* The engine broke"):
        tuned(plan, runtime)


def test_ctrl_c_prints_the_measurements_so_far(plan: Path) -> None:
    runtime = FakeRuntime()
    left = iter(range(5000))

    def interrupt(inputs: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return []

    runtime.compute = interrupt
    report = tuned(plan, runtime, seconds=1000.0)
    assert not report.complete
    assert len(report.lines) > 3
    assert report.lines[-1] == "Stopped before the end."
    assert runtime.engines() == []


# -- the command


def trtserve(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    ("option", "printed"),
    [
        (("--batch", "1,x"), "'x' is not a number from 1 to 65536."),
        (("--delay-us", "soon"), "'soon' is not a number from 0 to 10000000 or auto."),
        (("--concurrency", "0"), "'0' is not a number from 1 to 10000."),
        (("--instances", ""), "'' is not a number from 1 to 256."),
        (("--seconds", "0"), "0.0 is not in the range 0<x<=3600."),
        (("--seconds", "nan"), "'nan' is not a number above 0, and 3600 at most."),
        (("--seconds", "inf"), "inf is not in the range 0<x<=3600."),
        (("--latency-ms", "NaN"), "'NaN' is not a number above 0, and 10000 at most."),
    ],
)
def test_a_wrong_option_is_refused(option: tuple[str, str], printed: str) -> None:
    result = trtserve("tune", "net", *option)
    assert result.exit_code == 2
    assert printed in result.stderr


def test_an_interrupt_sets_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def run(ref: str, asked: Any, settings: Settings, say: Any) -> Report:
        given.update(asked, store=settings.store)
        say("progress")
        return Report(["table"], complete=False)

    monkeypatch.setattr("trtserve.tune.sweep.run", run)
    result = trtserve("tune", "net", "--store", "here", "--shape", "x:1", "--shape", "y:2")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "table\n", "progress\n")
    assert given == {
        "store": Path("here"),
        "latency_ms": 10.0,
        "concurrency": (1, 8, 64),
        "seconds": 1.0,
        "instances": (1, 2),
        "batch": (1, 4, 16, 64),
        "delay_us": (0, 500, "auto"),
        "format": "auto",
        "shapes": ("x:1", "y:2"),
    }


def test_a_real_engine_is_tuned(tmp_path: Path) -> None:
    model = doubling(tmp_path / "double.onnx")
    options = ["--seconds", "0.01", "--concurrency", "1,4", "--instances", "1", "--batch", "1,4"]
    result = trtserve("tune", model, *options, "--delay-us", "0", "--latency-ms", "10000")
    assert result.exit_code == 0, result.output
    header, *rows, empty, printed, command = result.stdout.splitlines()
    assert header.split()[0] == "instances"
    assert [row.split()[:4] for row in rows] == [
        ["1", "1", "-", "1"], ["1", "1", "-", "4"], ["1", "4", "0", "1"], ["1", "4", "0", "4"],
    ]  # fmt: skip
    assert empty == ""
    assert printed.startswith("Best with a p99 within 10000 ms: ")
    assert parsed(command)["plan"] == model
    assert parsed(command)["name"] == "double"
    assert "round 1/3, 2/2" in result.stderr

    missing = trtserve("tune", "double", "--store", tmp_path / "store")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: There is no plan file 'double', and ")
