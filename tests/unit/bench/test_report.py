"""The tables that a benchmark run prints."""

import pytest

from bench import report

LOAD = {"kind": "stream", "payload": "16 floats", "concurrency": 8, "p50_us": 1, "p99_us": 2, "errors": 0}


def test_grpc_has_our_rate_beside_each_other_server(capsys: pytest.CaptureFixture[str]) -> None:
    ours = LOAD | {"server": "trtserve", "per_second": 3000}
    report.grpc({"rows": [ours, LOAD | {"server": "triton-c++", "per_second": 2000}]})
    printed = capsys.readouterr().out
    assert "| stream | 16 floats | 8 | triton-c++ | 2,000 | 1 | 2 | 0 | 1.50 |" in printed


def test_a_server_that_answered_nothing_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    ours = LOAD | {"server": "trtserve", "per_second": 3000}
    report.grpc({"rows": [ours, LOAD | {"server": "triton-c++", "per_second": 0}]})
    assert "| triton-c++ | 0 | 1 | 2 | 0 | - |" in capsys.readouterr().out


def test_a_part_that_cannot_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    report.grpc({"not_run": "nghttp2's headers are missing"})
    assert "Not run: nghttp2's headers are missing" in capsys.readouterr().out
