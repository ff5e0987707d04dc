"""The settings of the protocol's trace extension. This server has no such traces, and accepts only that.

Its own follow OpenTelemetry, and are set when it starts.
"""

from collections.abc import Mapping
from typing import Any

from trtserve.codec.whole import whole
from trtserve.errors import InvalidInput, Unsupported
from trtserve.text import shown

OFF = ["OFF"]
SETTINGS: dict[str, str | list[str]] = {
    "trace_level": OFF,
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
"""What Triton has where nothing is traced."""


def trace_settings() -> dict[str, str | list[str]]:
    return dict(SETTINGS)


def update(asked: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Accept settings that leave tracing off: unchanged ones, or cleared ones (null).

    Raises Unsupported for others, and InvalidInput for an unknown setting.
    """
    for setting, value in asked.items():
        if setting not in SETTINGS:
            raise InvalidInput(
                f"There is no trace setting {shown(setting)}; there are: {', '.join(SETTINGS)}."
            )
        if not (value is None or _list(value) in ([], _list(SETTINGS[setting]))):
            raise Unsupported(
                f"{setting} is asked to be {shown(value)}, but this server traces no requests "
                "in this way. Start it with --trace-endpoint (TRTSERVE_TRACE_ENDPOINT) for OpenTelemetry's "
                "traces; GET /metrics and the statistics of its models say where their time goes."
            )
    return trace_settings()


def _list(value: object) -> list[object]:
    """The values as text: gRPC has lists where JSON may have one value, and clients may send numbers."""
    values = value if isinstance(value, list) else [value]
    numbers = [whole(each) for each in values]
    return [each if number is None else str(number) for each, number in zip(values, numbers, strict=True)]
