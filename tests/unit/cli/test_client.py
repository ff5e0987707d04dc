"""The trace that a command is part of."""

from trtserve.cli.console import trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_command_that_is_part_of_a_trace_says_so() -> None:
    environment = {"TRACEPARENT": PARENT, "TRACESTATE": "a=1", "PATH": "/bin"}
    assert trace(environment) == {"traceparent": PARENT, "tracestate": "a=1"}


def test_any_other_says_nothing() -> None:
    assert trace({"TRACESTATE": ""}) == {}
