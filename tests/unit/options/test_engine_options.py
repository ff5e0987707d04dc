"""What is derived from the one record of an engine's options."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from runtime_ext import AUTO_DELAY, LoadOptions
from trtserve.cli.main import main
from trtserve.http.upload_query import UploadQuery
from trtserve.options.build_options import BuildRequest
from trtserve.options.engine_options import EngineOptions, UploadOptions
from trtserve.options.for_runtime import for_runtime
from trtserve.settings import Settings

OPTIONS = EngineOptions.model_fields


def test_what_was_asked_for_is_what_was_given_even_if_it_is_the_default() -> None:
    assert EngineOptions().asked() == {}
    assert EngineOptions(instances=0, batch_dims="").asked() == {"instances": 0, "batch_dims": ""}


def test_what_is_not_asked_for_is_as_before_or_as_the_settings_say() -> None:
    before = EngineOptions(instances=3, device="cpu")
    assert EngineOptions(device="cuda").over(before) == EngineOptions(instances=3, device="cuda")
    settings = Settings(instances=7, max_queue_size=9)
    assert EngineOptions(max_queue_size=1).decided(settings) == EngineOptions(instances=7, max_queue_size=1)


@pytest.mark.parametrize("setting", sorted(OPTIONS.keys() & Settings.model_fields.keys()))
def test_an_option_and_its_setting_have_one_default(setting: str) -> None:
    assert OPTIONS[setting].default == Settings.model_fields[setting].default


def test_never_is_kept_but_cannot_be_asked_for() -> None:
    assert EngineOptions(max_queue_delay_us="never").asked() == {"max_queue_delay_us": "never"}
    with pytest.raises(ValidationError, match="whole number of microseconds from 0 to 10000000, or 'auto'"):
        UploadOptions.model_validate({"max_queue_delay_us": "never"})


def test_the_query_of_an_upload_has_every_option_and_asks_for_what_is_in_it() -> None:
    assert set(UploadQuery.model_fields) == {"name", "format", *BuildRequest.model_fields, *OPTIONS}
    query = UploadQuery.model_validate({"name": "net", "instances": "2", "preferred_batch_sizes": "8,4"})
    assert query.options().asked() == {"instances": 2, "preferred_batch_sizes": "4,8"}


def test_the_command_line_has_a_flag_for_every_option() -> None:
    told = CliRunner().invoke(main, ["engines", "add", "--help"]).output
    for option in OPTIONS:
        assert f"--{option.replace('_', '-')} " in told


def test_the_command_line_says_what_it_can_do_without_loading_torch() -> None:
    script = "import sys, trtserve.cli.main; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"torch", "runtime_ext"} & set(ended.stdout.split())


def test_the_runtime_takes_every_option() -> None:
    options = EngineOptions(
        instances=2,
        max_batch_size=8,
        max_queue_delay_us="auto",
        preferred_batch_sizes="4,8",
        batch_dims="x:1",
    )
    loaded = LoadOptions(name="net", **for_runtime(options))
    assert (loaded.name, loaded.instances, loaded.device) == ("net", 2, "auto")
    batch = loaded.batch
    assert (batch.max_batch_size, batch.max_queue_delay_us) == (8, AUTO_DELAY)
    assert (batch.preferred_batch_sizes, batch.batch_dims) == ([4, 8], {"x": 1})


def test_the_runtime_is_told_of_an_engine_whose_requests_are_never_joined_as_one_without_batches() -> None:
    told = for_runtime(EngineOptions(max_batch_size=16, max_queue_delay_us="never"))
    assert (told["max_batch_size"], told["max_queue_delay_us"]) == (1, 0)


def test_the_runtime_refuses_an_option_that_it_does_not_have_or_a_value_of_another_type() -> None:
    with pytest.raises(TypeError, match="no option colour"):
        LoadOptions(colour="red")
    with pytest.raises(TypeError, match="option instances cannot be 'two'"):
        LoadOptions(instances="two")
