"""`trtserve tune`: the measured settings, their order, and the command.

Above 400 lines, because its parts share the fake benchmarks, of which each builds on the one before.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
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
from trtserve.tune.bench import most_items
from trtserve.tune.closed_loop import LEAD_IN, Sample
from trtserve.tune.report import Row, table
from trtserve.tune.sweep import Outcome, Sweep, choose_settings, round_sizes, spread
from trtserve.tune.target import Setting
from trtserve.tune.tuning import Report, tune
from trtserve.tune.watcher import Watcher

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


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [(1, [1]), (4, [4]), (5, [5, 3]), (20, [20, 7, 3]), (100, [100, 34, 12, 4])],
)
def test_each_round_has_a_third_of_the_settings_of_the_one_before(settings: int, sizes: list[int]) -> None:
    assert round_sizes(settings) == sizes


@pytest.mark.parametrize(("number", "places"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (20, [*range(10)])])
def test_settings_that_are_left_out_are_spread_over_all(number: int, places: list[int]) -> None:
    settings = [Setting(instances, 1, 0) for instances in range(1, 11)]
    assert spread(settings, number) == [settings[place] for place in places]


# -- measuring


class FakeBench:
    """Time passes in its loads and measurements only. The throughput is that of a test, at any time."""

    closing_loads = 0

    def __init__(self, load_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.load_seconds = load_seconds
        self.asked: list[tuple[Setting, int, float]] = []
        self.loads: list[Setting] = []
        self.failing: dict[Setting, BaseException] = {}
        self.throughput: dict[Setting, float] = {}
        self.p99_ms: dict[tuple[Setting, int], float] = {}

    def clock(self) -> float:
        return self.now

    @contextmanager
    def loaded(self, setting: Setting) -> Iterator[float]:
        self.loads.append(setting)
        self.now += self.load_seconds
        yield self.load_seconds

    def measure(self, concurrency: int, seconds: float) -> Sample:
        setting = self.loads[-1]
        self.asked.append((setting, concurrency, seconds))
        self.now += seconds * (1 + LEAD_IN)
        if setting in self.failing:
            raise self.failing[setting]
        p99_ms = self.p99_ms.get((setting, concurrency), 2.0)
        return Sample(self.throughput.get(setting, 1.0), 1.0, p99_ms, 1.0, seconds)


class Heard:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.visits: list[tuple[str, Setting, float]] = []
        self.best: list[Row] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def visit(self, round: str, setting: Setting, spent: float) -> None:
        self.visits.append((round, setting, spent))

    def improved(self, row: Row) -> None:
        self.best.append(row)


MANY = [Setting(instances, 1, 0) for instances in range(1, 21)]


def swept(bench: FakeBench, settings: list[Setting], **asked: Any) -> tuple[Sweep, Heard]:
    heard = Heard()
    sweep = Sweep(bench, settings, replace(ASKED, **asked), heard, bench.clock)
    sweep.run(bench.load_seconds, bench.now)
    return sweep, heard


def test_the_better_settings_are_measured_again_and_longer_and_the_last_ones_in_turn() -> None:
    bench = FakeBench()
    bench.throughput = {setting: float(setting.instances) for setting in MANY}
    sweep, heard = swept(bench, MANY)
    assert bench.loads[:20] == MANY
    assert bench.loads[20:27] == MANY[:12:-1]
    assert bench.loads[27:] == MANY[:16:-1] * 3
    lengths = [
        seconds for setting, concurrency, seconds in bench.asked if (setting, concurrency) == (MANY[-1], 1)
    ]
    assert lengths[0] < lengths[1] < lengths[2] * 3
    assert [outcome.setting for outcome in sweep.finalists] == MANY[:16:-1]
    assert {row.setting for row in sweep.chosen_from()} == set(MANY[17:])
    assert heard.said == ["20, then 7, then 3 settings at concurrency 1, 8, in 60 s."]
    assert [round for round, *_ in heard.visits] == ["round 1/3"] * 20 + ["round 2/3"] * 7 + ["round 3/3"] * 9


@pytest.mark.parametrize(
    ("settings", "load_seconds"), [(1, 0.0), (3, 1.0), (20, 0.0), (20, 0.5), (20, 2.0), (20, 50.0)]
)
def test_the_budget_is_used_and_kept(settings: int, load_seconds: float) -> None:
    bench = FakeBench(load_seconds)
    began = bench.now
    swept(bench, MANY[:settings])
    assert bench.now - began == pytest.approx(60.0)


@pytest.mark.parametrize("load_seconds", [0.0, 0.5, 2.0, 10.0])
def test_the_loads_that_follow_are_a_part_of_the_budget(load_seconds: float) -> None:
    bench = FakeBench(load_seconds)
    bench.closing_loads = 1
    began = bench.now
    swept(bench, MANY)
    assert bench.now + load_seconds - began == pytest.approx(60.0)


class Slowing(FakeBench):
    """Loads take longer than the first one did, and each measurement a second more than it was asked to."""

    closing_loads = 1

    @contextmanager
    def loaded(self, setting: Setting) -> Iterator[float]:
        self.load_seconds = 4.0
        with super().loaded(setting) as seconds:
            yield seconds

    def measure(self, concurrency: int, seconds: float) -> Sample:
        self.now += 1.0
        return super().measure(concurrency, seconds)


def test_what_takes_longer_than_expected_keeps_the_budget() -> None:
    bench = Slowing(load_seconds=0.1)
    began = bench.now
    sweep, _ = swept(bench, MANY, budget_s=15.0)
    assert sweep.rows()
    assert bench.now + bench.load_seconds - began <= 15.0 + 1.1  # a measurement more than was left for


def test_of_settings_that_load_slowly_as_many_are_measured_as_fit_once_each() -> None:
    bench = FakeBench(load_seconds=10.0)
    sweep, heard = swept(bench, MANY)
    assert bench.loads == [MANY[0], MANY[10], MANY[19]]
    assert len(sweep.finalists) == 3
    assert heard.said == [
        "A load takes 10 s, so 3 of 20 settings are measured, once each, at concurrency 1, 8, in 60 s."
    ]


def test_the_best_row_is_told_as_it_is_found() -> None:
    bench = FakeBench()
    bench.throughput = {ONE: 5.0, TWO: 9.0}
    bench.p99_ms = {(TWO, 8): 11.0}
    _, heard = swept(bench, [ONE, TWO])
    assert [(row.setting, row.concurrency) for row in heard.best] == [(ONE, 1), (ONE, 8), (TWO, 1)]


def test_a_setting_within_the_bound_goes_on_before_a_faster_one_beyond_it() -> None:
    bench = FakeBench()
    bench.throughput = {setting: float(setting.instances) for setting in MANY}
    slow = {(setting, concurrency): 15.0 for setting in MANY[5:] for concurrency in (1, 8)}
    bench.p99_ms = {**slow, (MANY[7], 1): 12.0}
    sweep, _ = swept(bench, MANY)
    assert [outcome.setting for outcome in sweep.finalists] == [MANY[4], MANY[3], MANY[2]]
    assert bench.loads[20:27] == [*MANY[4::-1], MANY[7], MANY[5]]


def test_more_requests_at_once_are_not_tried_once_the_latency_is_far_beyond_its_bound() -> None:
    delayed = Setting(1, 4, 500_000)
    bench = FakeBench()
    bench.p99_ms = {(ONE, 1): 20.1, (TWO, 1): 19.9, (delayed, 1): 501.0}
    swept(bench, [ONE, TWO, delayed], concurrency=[8, 1])
    assert {(setting, concurrency) for setting, concurrency, _ in bench.asked} == {
        (ONE, 1), (TWO, 1), (TWO, 8), (delayed, 1), (delayed, 8),
    }  # fmt: skip


class Slow(FakeBench):
    """Each measurement takes much longer than it was asked to, as one long execution does."""

    def measure(self, concurrency: int, seconds: float) -> Sample:
        self.now += 25.0
        return super().measure(concurrency, 0.0)


def test_executions_that_take_long_end_the_search_with_what_there_is() -> None:
    bench = Slow()
    sweep, heard = swept(bench, MANY)
    assert [(setting, concurrency) for setting, concurrency, _ in bench.asked] == [
        (MANY[0], 1), (MANY[0], 8), (MANY[1], 1),
    ]  # fmt: skip
    assert [row.setting for row in sweep.chosen_from()] == [MANY[0], MANY[0], MANY[1]]
    assert heard.said[-1] == "The time was over before 18 settings were measured: give a longer --budget."


def test_one_measurement_is_made_however_short_the_time() -> None:
    bench = FakeBench(load_seconds=1.0)
    sweep, _ = swept(bench, MANY, budget_s=0.5)
    assert len(sweep.rows()) == 1


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("no memory is left", "No memory is left."),
        ("max_batch_size is 8, but …", "max_batch_size is 8, but …"),
    ],
)
def test_a_failed_setting_does_not_stop_the_others(words: str, printed: str) -> None:
    bench = FakeBench()
    bench.failing[ONE] = error("Unavailable", words)
    sweep, heard = swept(bench, [ONE, TWO])
    assert bench.loads == [ONE, TWO, TWO, TWO]
    assert [outcome.failure for outcome in sweep.outcomes] == [printed, None]
    assert heard.said[1] == f"{ONE}: {printed}"
    assert list(sweep.failures()) == [f"{ONE}: {printed}"]
    assert {row.setting for row in sweep.chosen_from()} == {TWO}


def test_measurements_before_an_interrupt_are_kept() -> None:
    bench = FakeBench()
    bench.failing[TWO] = KeyboardInterrupt()
    sweep = Sweep(bench, [ONE, TWO], ASKED, Heard(), bench.clock)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(0.0, bench.now)
    assert [len(outcome.rows()) for outcome in sweep.outcomes] == [2, 0]


def test_what_a_later_round_has_not_measured_yet_stays_from_the_one_before() -> None:
    outcome = Outcome(ONE)
    for round, concurrency, throughput in ((0, 1, 1.0), (0, 8, 2.0), (1, 1, 3.0), (1, 1, 5.0), (1, 1, 4.0)):
        outcome.add(round, concurrency, Sample(throughput, 1.0, 1.0, 1.0, 0.5))
    assert [(row.concurrency, row.sample.throughput, row.sample.seconds) for row in outcome.rows()] == [
        (1, 4.0, 1.5), (8, 2.0, 0.5),
    ]  # fmt: skip


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
    time = count()
    wanted = replace(ASKED, **{"budget_s": 1000.0} | asked)
    clock = lambda: next(time)  # noqa: E731
    return tune(str(plan), wanted, Settings(), runtime=runtime, watcher=Heard(), clock=clock)  # type: ignore[arg-type]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_plan())
    return path


def test_each_setting_is_a_load_with_its_options(plan: Path) -> None:
    runtime = FakeRuntime()
    report = tuned(plan, runtime, concurrency=[1, 300], instances=[2])
    assert report.complete
    lines = report.lines()
    assert len(lines) == 1 + 3 * 2 + 1 + 2  # header, settings at each concurrency, empty, advice
    assert parsed(lines[-1])["max_queue_size"] == 300
    assert report.commands == [lines[-1]]
    options = [options for *_, options in runtime.loads[1:]]
    assert [(o.batch.max_batch_size, o.batch.max_queue_delay_us) for o in options[:3]] == [
        (1, 0), (4, 0), (4, AUTO_DELAY),
    ]  # fmt: skip
    assert {(o.instances, o.max_queue_size, o.batch.latency_target_us) for o in options} == {(2, 300, 10_000)}
    assert runtime.engines() == []


def test_an_engine_that_refuses_batches_is_measured_without_them_and_the_reason_printed(plan: Path) -> None:
    report = tuned(plan, Batching("max_batch_size is 4, but input 'x' is fixed"), instances=[1])
    assert [line.split()[1] for line in report.lines()[1:3]] == ["1", "1"]
    assert report.notes == ["Measured without batches only: max_batch_size is 4, but input 'x' is fixed."]
    assert report.lines()[3:6] == ["", *report.notes, ""]
    assert parsed(report.lines()[-1])["max_batch_size"] == 1


def test_batches_too_large_for_the_engine_are_left_out_with_a_message(plan: Path) -> None:
    runtime = FakeRuntime()
    runtime.inputs = [TensorSpec("x", "FP32", [-1, 4], [ShapeRange([1, 4], [1, 4], [2, 4])])]
    report = tuned(plan, runtime)
    assert report.notes == ["The engine takes 2 items at most: larger batches were left out."]


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
    report = tuned(plan, runtime, budget_s=100_000.0)
    assert not report.complete
    assert len(report.lines()) > 3
    assert report.lines()[-1] == "Stopped before the end."
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
        (("--budget", "0"), "0.0 is not in the range 0<x<=86400."),
        (("--budget", "nan"), "'nan' is not a number above 0, and 86400 at most."),
        (("--budget", "inf"), "inf is not in the range 0<x<=86400."),
        (("--latency-ms", "NaN"), "'NaN' is not a number above 0, and 10000 at most."),
    ],
)
def test_a_wrong_option_is_refused(option: tuple[str, str], printed: str) -> None:
    result = trtserve("tune", "net", *option)
    assert result.exit_code == 2
    assert printed in result.stderr


def test_an_interrupt_sets_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def run(ref: str, asked: Any, settings: Settings, watcher: Watcher) -> Report:
        given.update(asked, store=settings.store)
        watcher.say("progress")
        watcher.visit("round 1/3", ONE, 0.5)
        watcher.improved(row)
        watcher.improved(row)
        return Report("net", [row], None, [], [], ["Stopped."], complete=False)

    row = Row(ONE, 1, Sample(1.0, 1.0, 2.0, 1.0))
    monkeypatch.setattr("trtserve.tune.tuning.run", run)
    result = trtserve("tune", "net", "--store", "here", "--shape", "x:1", "--shape", "y:2")
    assert result.exit_code == 130
    header, line = table([row])
    assert result.stdout.splitlines() == [header, line, "", "Stopped."]
    assert result.stderr.splitlines() == ["progress", "The best so far:", header, line, line]
    assert given == {
        "store": Path("here"),
        "latency_ms": 10.0,
        "concurrency": (1, 8, 64),
        "budget_s": 60.0,
        "instances": (1, 2),
        "batch": (1, 4, 16, 64),
        "delay_us": (0, 500, "auto"),
        "format": "auto",
        "shapes": ("x:1", "y:2"),
    }


def test_a_real_engine_is_tuned(tmp_path: Path) -> None:
    model = doubling(tmp_path / "double.onnx")
    picture = tmp_path / "curves.svg"
    options = ["--budget", "1", "--concurrency", "1,4", "--instances", "1", "--batch", "1,4"]
    options += ["--delay-us", "0", "--latency-ms", "10000", "--plot", str(picture)]
    result = trtserve("tune", model, *options)
    assert result.exit_code == 0, result.output
    header, *rows, empty, printed, command = result.stdout.splitlines()
    assert header.split()[0] == "instances"
    all_rows = [["1", "1", "-", "1"], ["1", "1", "-", "4"], ["1", "4", "0", "1"], ["1", "4", "0", "4"]]
    measured = [row.split()[:4] for row in rows]
    assert measured == all_rows[: len(measured)] != []  # on a busy machine the time is over before all are
    assert empty == ""
    assert printed.startswith("Best with a p99 within 10000 ms: ")
    assert parsed(command)["plan"] == model
    assert parsed(command)["name"] == "double"
    assert result.stderr.splitlines()[0].endswith("at concurrency 1, 4, in 1 s.")
    assert "The best so far:" in result.stderr.splitlines()
    assert "1 × batch 1" in picture.read_text()


def test_a_result_can_be_json(tmp_path: Path) -> None:
    model = doubling(tmp_path / "double.onnx")
    options = [
        "--budget",
        "0.1",
        "--concurrency",
        "2",
        "--instances",
        "1",
        "--batch",
        "1",
        "--latency-ms",
        "10000",
    ]
    result = trtserve("tune", model, *options, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    (row,) = told["rows"]
    assert told["best"] == row
    assert (row["instances"], row["max_batch_size"], row["concurrency"]) == (1, 1, 2)
    assert row["throughput"] > 0
    assert (told["engine"], told["complete"], told["notes"]) == ("double", True, [])
    assert parsed(told["commands"][-1])["plan"] == model


def test_what_cannot_be_measured_is_an_error(tmp_path: Path) -> None:
    missing = trtserve("tune", "double", "--store", tmp_path / "store")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: There is no plan file 'double', and ")
