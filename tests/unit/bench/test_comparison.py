"""What the benchmark says about a run when it has an earlier one to compare with."""

from typing import Any

import pytest

from bench import comparison


def rates(ours: float, peer: float | None = None, **more: Any) -> list[dict[str, Any]]:
    load = {"payload": "16 floats", "concurrency": 8, "errors": 0, **more}
    rows = [load | {"server": "trtserve", "per_second": ours}]
    if peer is not None:
        rows.append(load | {"server": "triton-c++", "per_second": peer})
    return rows


def open_loop(p99: float, young: float = 500) -> dict[str, Any]:
    row = {"delay_us": "0", "share": 0.7, "p50_us": 1000, "p99_us": p99, "lost": 0, "errors": 0}
    return {"curves": [row], "collections": {"young_us": young}}


def varied(ours: float, share: float) -> list[dict[str, Any]]:
    return rates(ours, varies="per-request headers", share=share)


def network(share: float, single: float = 0.5) -> list[dict[str, Any]]:
    return [{"network": "mlp", "efficiency": share, "efficiency_of_singles": single}]


def many_engines(**more: Any) -> list[dict[str, Any]]:
    cost = {
        "start_s": 5.0,
        "threads": 11,
        "rss_mb": 300,
        "metrics_ms": 30,
        "metrics_mb": 3.2,
        "one_share": 1.0,
    }
    return [{"engines": 300, **cost, **more}]


def losses(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [change.name for change in comparison.changes(before, now) if change.loss]


def test_a_ratio_to_a_peer_is_compared_in_place_of_the_rate() -> None:
    slower_machine = {"frontend": rates(500, 250)}
    assert losses({"frontend": rates(1000, 500)}, slower_machine) == []
    peer_gained = {"frontend": rates(1000, 800)}
    assert losses({"frontend": rates(1000, 500)}, peer_gained) == ["16 floats, c=8, trtserve / triton-c++"]


def test_a_rate_is_compared_where_a_run_has_no_peer() -> None:
    without = {"frontend": rates(800)}
    assert losses({"frontend": rates(1000, 500)}, without) == ["16 floats, c=8, trtserve, requests/s"]


def test_a_figure_of_a_peer_is_no_loss() -> None:
    peer_slower = {"frontend": rates(1000, 300)}
    assert losses({"frontend": rates(1000, 500)}, peer_slower) == []


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        (
            {"grpc": {"rows": rates(1000, 500, kind="unary")}},
            {"grpc": {"rows": rates(800, 500, kind="unary")}},
            "unary, 16 floats, c=8, trtserve / triton-c++",
        ),
        (
            {"varied": varied(1000, 0.9)},
            {"varied": varied(1000, 0.5)},
            "varied, 16 floats, c=8, per-request headers, trtserve, share of one head",
        ),
        ({"efficiency": network(1.0)}, {"efficiency": network(0.8)}, "mlp, share of OpenVINO"),
        (
            {"efficiency": network(1.0)},
            {"efficiency": network(1.0, single=0.4)},
            "mlp, single items, share of OpenVINO",
        ),
        ({"latency": open_loop(3000)}, {"latency": open_loop(4000)}, "open loop, delay 0, 70%, p99 / p50"),
        (
            {"latency": open_loop(3000)},
            {"latency": open_loop(3000, young=800)},
            "longest pause of a young collection, us",
        ),
        ({"engines": many_engines()}, {"engines": many_engines(start_s=9)}, "300 engines, start, s"),
        ({"engines": many_engines()}, {"engines": many_engines(threads=900)}, "300 engines, threads"),
        (
            {"engines": many_engines()},
            {"engines": many_engines(one_share=0.5)},
            "300 engines, requests to one, share of one engine",
        ),
        ({"memory": {"at_rest_mb": 200}}, {"memory": {"at_rest_mb": 230}}, "memory at rest, MB"),
        (
            {"frontend": rates(1000, 500)},
            {"frontend": rates(1000, 500, errors=3)},
            "16 floats, c=8, trtserve, errors",
        ),
    ],
)
def test_each_part_reports_its_loss(before: dict[str, Any], now: dict[str, Any], lost: str) -> None:
    assert losses(before, now) == [lost]
    assert lost not in losses(now, before)


def test_differences_within_the_noise_are_not_reported() -> None:
    assert comparison.changes({"frontend": rates(1000)}, {"frontend": rates(905)}) == []


def test_a_run_without_an_earlier_one_has_no_losses() -> None:
    assert losses({}, {"frontend": rates(1000, 500)}) == []


def test_a_report_names_losses_before_gains(capsys: pytest.CaptureFixture[str]) -> None:
    before = {"frontend": rates(1000), "efficiency": network(0.5)}
    found = comparison.report(before, {"frontend": rates(700), "efficiency": network(0.9)})
    printed = capsys.readouterr().out
    assert [change.name for change in found] == ["16 floats, c=8, trtserve, requests/s"]
    assert printed.index("requests/s: 1,000.00 -> 700.00 (-30%)") < printed.index("mlp, share of OpenVINO")
