"""The values that settings accept."""

import pytest
from pydantic import ValidationError

from trtserve.cli.settings import settings_of
from trtserve.settings import GIB, Settings


@pytest.mark.parametrize("name", ["drain_s", "request_timeout_s", "body_timeout_s"])
@pytest.mark.parametrize("value", ["inf", "nan", "-1"])
def test_a_time_must_be_finite(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def test_the_limit_of_all_bodies_must_fit_the_largest_one() -> None:
    with pytest.raises(ValidationError, match=r"at least max_request_bytes \(5368709120\)"):
        Settings(max_request_bytes=5 * GIB)
    settings = Settings(max_request_bytes=5 * GIB, max_inflight_bytes=5 * GIB)
    assert settings.max_inflight_bytes == 5 * GIB


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_setting_counts_as_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TRTSERVE_{name.upper()}", "")
    assert Settings() == Settings.model_validate({})
    assert settings_of({name: ""}) == Settings.model_construct()


@pytest.mark.parametrize("name", Settings.model_fields)
@pytest.mark.parametrize("given", [" ", "\t", "\n "])
def test_a_blank_setting_never_changes_where_the_server_listens_or_writes(
    name: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TRTSERVE_{name.upper()}", given)
    if name in {"tensorrt_plugins", "shared_memory"}:
        assert getattr(Settings(), name).strip() == ""
        return
    with pytest.raises(ValidationError, match=r"Input should|Field required|must"):
        Settings()


@pytest.mark.parametrize("name", ["host", "store", "tensorrt_library"])
def test_an_empty_address_or_path_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="leave it out for its default"):
        Settings.model_validate({name: ""})


@pytest.mark.parametrize(
    ("given", "meant"), [("auto", "auto"), ("0", 0), (250, 250), (250.0, 250), ("10000000", 10**7)]
)
def test_a_queue_delay_is_a_number_or_auto(given: str | int, meant: str | int) -> None:
    assert Settings.model_validate({"max_queue_delay_us": given}).max_queue_delay_us == meant


@pytest.mark.parametrize("given", ["-1", "1.5", "10000001", "9" * 5000, "²", "Auto", "", None, 1.5, True, -1])
def test_a_wrong_queue_delay_is_refused_in_one_sentence(given: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"max_queue_delay_us": given})
    (fault,) = refused.value.errors()
    assert fault["loc"] == ("max_queue_delay_us",)
    assert fault["msg"] == "Input should be a whole number of microseconds from 0 to 10000000, or 'auto'"


@pytest.mark.parametrize("given", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_has_a_known_kind(given: str) -> None:
    assert Settings(device=given).device == given


@pytest.mark.parametrize(
    "given",
    [
        "gpu",
        "",
        "CPU",
        "cuda:",
        "cuda:x",
        "cuda:1000",
        "cuda:00",
        "cuda:²",
        "cuda:٣",
        "cpu\n",
        "cuda:0,",
        "cuda:0,cpu",
        "all,cuda:0",
    ],
)
def test_an_unknown_device_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="Input should be 'auto', 'all', 'cpu', 'cuda'"):
        Settings(device=given)


@pytest.mark.parametrize(
    "given",
    ["a.example", "*.a.example,b", "*", "A.Example, b", "10.0.0.5", "xn--bcher-kva.example", "my_host"],
)
def test_allowed_hosts_are_names(given: str) -> None:
    assert Settings(allowed_hosts=given).allowed_hosts == given


@pytest.mark.parametrize(
    "given",
    [
        "http://a.example",
        "a.example:80",
        "*a.example",
        "a.*",
        "a b",
        ",",
        "a,",
        "a..b",
        "a\nb",
        "bücher.example",
    ],
)
def test_malformed_allowed_hosts_are_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="host names without a port"):
        Settings(allowed_hosts=given)


@pytest.mark.parametrize(("given", "meant"), [("off", "off"), ("0", 0), (8001, 8001), ("65535", 65535)])
def test_the_grpc_port_is_a_port_or_off(given: str | int, meant: str | int) -> None:
    assert Settings.model_validate({"grpc_port": given}).grpc_port == meant


@pytest.mark.parametrize("given", ["-1", "65536", "http", "", "OFF", 80.5])
def test_a_wrong_grpc_port_is_refused_in_one_sentence(given: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"grpc_port": given})
    (fault,) = refused.value.errors()
    assert fault["msg"] == "Input should be a port from 0 to 65535, or 'off'"


def test_a_grpc_message_is_smaller_than_2_gib() -> None:
    assert Settings().grpc_max_message_bytes is None
    with pytest.raises(ValidationError, match="less than 2147483648"):
        Settings(grpc_max_message_bytes=2 * GIB)


def test_requests_are_joined_where_that_is_safe_and_wait_for_no_others_by_default() -> None:
    assert Settings().max_batch_size == "auto"
    assert Settings().max_queue_delay_us == 0


def test_the_environment_can_set_batch_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTSERVE_MAX_BATCH_SIZE", "16")
    monkeypatch.setenv("TRTSERVE_MAX_QUEUE_DELAY_US", "auto")
    monkeypatch.setenv("TRTSERVE_LATENCY_TARGET_US", "2000")
    settings = Settings()
    assert (settings.max_batch_size, settings.latency_target_us) == (16, 2000)
    assert settings.max_queue_delay_us == "auto"


def test_grpc_clients_may_ping_every_two_seconds_by_default() -> None:
    """With or without a call under way; the default of gRPC would be one ping in two hours."""
    settings = Settings()
    assert settings.grpc_keepalive_without_calls
    assert settings.grpc_min_ping_interval_s <= 1
