"""The option labels: what its document must be."""

import json

import pytest
from pydantic import ValidationError

from trtserve.options.engine_options import EngineOptions
from trtserve.options.labels import MOST_CHARACTERS, read_labels


def test_labels_are_stored_without_spaces_and_read_again() -> None:
    options = EngineOptions(labels=' {"y": ["cat", "Vögel"]}')
    assert options.labels == '{"y":["cat","Vögel"]}'
    assert read_labels(options.labels) == {"y": ["cat", "Vögel"]}
    assert read_labels("") == {}


def test_labels_may_be_empty_and_as_long_as_allowed() -> None:
    labels = {"y": ["", "d" * 1024], "z": []}
    assert read_labels(EngineOptions(labels=json.dumps(labels)).labels) == labels


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("{", "unexpected end"),
        ('["cat"]', "it is not an object"),
        ('{"y": "cat"}', "the labels of 'y' are not a list of strings"),
        ('{"y": ["cat", 1]}', "the labels of 'y' are not a list of strings"),
        ('{"y": ["cat", "%s"]}' % ("d" * 1025), "a label of 'y' has 1025 characters; 1024 are allowed"),
        (" " * (MOST_CHARACTERS + 1), "characters, and 1048576 are allowed"),
    ],
)
def test_a_document_that_is_no_labels_is_refused_with_an_example(given: str, why: str) -> None:
    with pytest.raises(ValidationError, match=r'such as \{"y":\["cat","dog"\]\}') as refused:
        EngineOptions(labels=given)
    assert why in str(refused.value)
