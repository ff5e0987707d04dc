"""The records of the backends, and what is read from them."""

from pathlib import Path

import pytest

from trtserve.formats.backends import BACKENDS, backend_of, runtime_backend
from trtserve.formats.format import Format
from trtserve.oip.config_reader import FORMATS
from trtserve.options.engine_options import EngineOptions


@pytest.mark.parametrize("format", Format)
def test_each_format_has_one_backend(format: Format) -> None:
    assert [backend for backend in BACKENDS.values() if format in backend.platforms] == [backend_of(format)]


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_called_what_the_protocol_says_of_its_engines(name: str) -> None:
    """So that a config that was read can be sent."""
    backend = BACKENDS[name]
    assert FORMATS[name] == frozenset(backend.platforms)
    for format, platform in backend.platforms.items():
        assert FORMATS[platform] == {format}


@pytest.mark.parametrize("name", BACKENDS)
def test_the_options_of_a_backend_are_options_of_engines(name: str) -> None:
    assert BACKENDS[name].options <= EngineOptions.model_fields.keys()


def test_a_backend_that_is_not_known_is_left_to_the_runtime() -> None:
    assert runtime_backend("abacus", Path("nowhere"), ["openvino"]) == "abacus"
