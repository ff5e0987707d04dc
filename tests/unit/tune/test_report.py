"""The report: the best setting, the table, and the commands to paste."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.fakes.engines import with_options
from tests.unit.tuning import ASKED, IN_STORE, ONE, PLAN_FILE, STORED, TWO, parsed
from trtserve.tune.closed_loop import Sample
from trtserve.tune.commands import changes, commands
from trtserve.tune.report import Row, advice, best, line, table
from trtserve.tune.target import Setting, Target

BATCHES = Setting(2, 16, 500)


def row(setting: Setting, concurrency: int, throughput: float, p99_ms: float) -> Row:
    return Row(setting, concurrency, Sample(throughput, p99_ms / 2, p99_ms, 1.5, 0.5))


def test_the_best_setting_has_the_highest_throughput_within_the_limit() -> None:
    rows = [
        row(ONE, 1, 100, 1), row(ONE, 8, 150, 9), row(ONE, 64, 160, 70),
        row(BATCHES, 1, 50, 2), row(BATCHES, 8, 300, 5), row(BATCHES, 64, 900, 9.9),
    ]  # fmt: skip
    assert best(rows, 10) == rows[5]
    assert best(rows, 6) == rows[4]
    assert best(rows, 1.5) == rows[0]
    assert best(rows, 0.5) is None


def test_a_setting_counts_at_its_highest_concurrency_within_the_limit() -> None:
    rows = [row(ONE, 1, 500, 1), row(ONE, 8, 400, 9), row(TWO, 8, 450, 9)]
    assert best(rows, 10) == rows[2]


def test_among_equals_fewer_instances_and_less_delay_win() -> None:
    equal = [
        Setting(2, 4, 0),
        Setting(1, 16, 500),
        Setting(1, 16, "auto"),
        Setting(1, 16, 0),
        Setting(1, 4, 0),
    ]
    rows = [row(setting, 8, 100 - place / 10, 5) for place, setting in enumerate(equal)]
    ranked = []
    while rows:
        chosen = best(rows, 10)
        assert chosen is not None
        ranked.append(chosen.setting)
        rows.remove(chosen)
    assert ranked == [equal[4], equal[3], equal[2], equal[1], equal[0]]
    apart = [row(equal[0], 8, 100, 5), row(equal[4], 8, 90, 5)]
    assert best(apart, 10) == apart[0]


def test_the_table_is_aligned() -> None:
    rows = [row(ONE, 1, 12.345, 1.5), row(Setting(2, 16, "auto"), 64, 123456.7, 10)]
    assert table(rows) == [
        "instances  max batch  delay us  concurrency  items/s  p50 ms  p99 ms  mean batch  seconds",
        "        1          1         -            1    12.35   0.750   1.500         1.5     0.50",
        "        2         16      auto           64   123457   5.000  10.000         1.5     0.50",
    ]
    assert [line(each) for each in rows] == table(rows)[1:]


def test_the_last_line_is_a_command_to_paste() -> None:
    verdict, command = advice([row(BATCHES, 8, 300, 5)], ASKED, partial(changes, PLAN_FILE, asked=ASKED))
    assert verdict == "Best with a p99 within 10 ms: 300 items/s at concurrency 8, p99 5.000 ms, with"
    assert command == (
        "trtserve engines add net.onnx --name net --instances 2 --max-batch-size 16 --max-queue-delay-us 500"
    )


def test_the_fastest_setting_is_reported_if_none_is_fast_enough() -> None:
    (verdict,) = advice(
        [row(ONE, 1, 30, 33), row(BATCHES, 1, 40, 25)], ASKED, partial(changes, PLAN_FILE, asked=ASKED)
    )
    assert verdict == (
        "No setting keeps the p99 within 10 ms. The fastest p99 is 25.000 ms, at concurrency 1 with "
        "instances 2, max_batch_size 16, max_queue_delay_us 500."
    )


def test_a_command_includes_the_options_of_the_measurement(tmp_path: Path) -> None:
    plan = tmp_path / "my net.onnx"
    plan.touch()
    stored = with_options(
        STORED, device="cpu", precision="bf16", batch_dims="x:1", preferred_batch_sizes="4,8,32"
    )
    asked = replace(ASKED, concurrency=[1, 1000], latency_ms=2.5)
    (command,) = commands(Target(plan, stored, "net"), Setting(1, 16, "auto"), asked)
    assert parsed(command) == {
        "plan": plan,
        "name": "net",
        "device": "cpu",
        "precision": "bf16",
        "max_queue_size": 1000,
        "batch_dims": "x:1",
        "instances": 1,
        "max_batch_size": 16,
        "max_queue_delay_us": "auto",
        "latency_target_us": 2500,
        "preferred_batch_sizes": "4,8",
        "server": "http://127.0.0.1:8000",
        "as_json": False,
    }
    (command,) = commands(PLAN_FILE, ONE, ASKED)
    assert command == "trtserve engines add net.onnx --name net --instances 1 --max-batch-size 1"


def test_an_engine_of_a_store_is_copied_and_removed_first() -> None:
    add = "trtserve engines add net.plan --name net --instances 1 --max-batch-size 1"
    assert commands(IN_STORE, ONE, ASKED) == [
        "cp store/plans/d.plan net.plan &&",
        "trtserve engines rm 7 &&",
        add,
    ]
    known_as = replace(IN_STORE, names=("net", "other"), format_told=False)
    note, *_, last = commands(known_as, ONE, ASKED)
    assert note == "# its other names go too, so add it again under each: other"
    assert "--format onnx" in last
    nameless = replace(IN_STORE, name=None, names=())
    assert commands(nameless, ONE, ASKED)[-1].startswith("trtserve engines add 7.plan --instances 1")


def test_an_engine_already_stored_with_the_best_setting_is_left_alone() -> None:
    as_it_is = replace(IN_STORE, stored=with_options(STORED, instances=1, max_queue_delay_us=500))
    *_, last = advice([row(ONE, 1, 100, 5)], ASKED, partial(changes, as_it_is, asked=ASKED))
    assert last == "The engine has this setting already: nothing needs to change."
    assert changes(as_it_is, ONE, ASKED) == []
    assert changes(as_it_is, TWO, ASKED) == commands(as_it_is, TWO, ASKED)
