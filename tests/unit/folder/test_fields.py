"""The fields of a config: those of Triton's message, those that are read, and those of the documentation."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as tritons

from trtserve.folder import model_config_pb2 as ours
from trtserve.oip.config_reader import NOT_SERVED
from trtserve.oip.triton_config import UNREAD, ModelConfig

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def rows() -> dict[str, str]:
    section = PAGE.read_text().partition("**What a `config.pbtxt` may say.**")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return {field: becomes for field, becomes in found if field not in {"field", "---"}}


def code(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def messages(annotation: Any) -> Iterator[type[Any]]:
    """The messages in a field's type."""
    if isinstance(annotation, type) and hasattr(annotation, "unread"):
        yield annotation
    for part in typing.get_args(annotation):
        yield from messages(part)


def unread(message: Any, at: str = "") -> Iterator[str]:
    for name, field in message.model_fields.items():
        if UNREAD in field.metadata:
            yield at + name
        for part in messages(field.annotation):
            yield from unread(part, f"{at}{name}.")


def fields(message: Any, done: set[str]) -> dict[str, tuple[int, int, bool]]:
    """The fields of a message of protobuf and of those in it: number, type, and whether it is repeated."""
    if message.full_name in done:
        return {}
    done.add(message.full_name)
    found = {}
    for field in message.fields:
        found[f"{message.name}.{field.name}"] = (field.number, field.type, field.is_repeated)
        if field.message_type is not None:
            found |= fields(field.message_type, done)
        if field.enum_type is not None:
            values = field.enum_type.values_by_name
            found |= {name: (value.number, 0, False) for name, value in values.items()}
    return found


def test_the_message_is_tritons() -> None:
    theirs = fields(tritons.ModelConfig.DESCRIPTOR, set())
    assert fields(ours.ModelConfig.DESCRIPTOR, set()) == theirs
    assert len(theirs) > 100


def test_every_field_of_the_message_is_known() -> None:
    assert {field.name for field in ours.ModelConfig.DESCRIPTOR.fields} <= ModelConfig.model_fields.keys()


def test_the_page_names_what_is_not_served() -> None:
    (told,) = (becomes for field, becomes in rows().items() if field.startswith("**not served**"))
    assert code(told) == NOT_SERVED.keys()


def test_the_page_names_what_is_ignored() -> None:
    (told,) = (becomes for field, becomes in rows().items() if field.startswith("**ignored**"))
    assert code(told) - {"ModelConfig"} == set(unread(ModelConfig))


@pytest.mark.parametrize("field", [field.name for field in ours.ModelConfig.DESCRIPTOR.fields])
def test_the_page_says_what_becomes_of_each_field(field: str) -> None:
    told = set[str]()
    for names, becomes in rows().items():
        told |= code(names) | (code(becomes) if names.startswith("**") else set())
    if field == "model_transaction_policy":
        field = "decoupled transactions"
    assert field in {name.partition(".")[0] for name in told}
