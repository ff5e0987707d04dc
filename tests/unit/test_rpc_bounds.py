"""What a message over gRPC may make the server keep, and do, before it is refused."""

import pytest

from service.errors import NotFound
from service.problems import tell
from service.rpc import errors, wire
from service.rpc.heads import Heads


def test_heads_of_long_names_are_not_kept() -> None:
    heads = Heads()
    assert heads.of("m", "1") is heads.of("m", "1")
    for name, version in (("m" * 10_000, ""), ("m", "1" * 10_000)):
        head = heads.of(name, version)
        assert (head.ref, head.version) == (name, version or None)
    assert len(heads) == 1


def test_a_message_of_very_many_fields_is_left_to_protobuf() -> None:
    field = bytes([wire.RAW_INPUT_CONTENTS, 1]) + b"x"
    rest, raw = wire.split(field * wire.MOST_FIELDS)
    assert (rest, raw) == (b"", [b"x"] * wire.MOST_FIELDS)
    more = field * (wire.MOST_FIELDS + 1)
    assert wire.split(more) == (more, [])


@pytest.mark.parametrize("character", ["a", "é", "😀"])
def test_a_long_sentence_is_cut_to_what_a_client_takes(character: str) -> None:
    _, sentence, _ = errors.status(tell(NotFound(f"There is no engine {character * 10_000}.")))
    assert sentence.startswith(f"There is no engine {character}")
    assert sentence.endswith(f"{character}…")
    assert len(sentence.encode()) <= errors.SENTENCE_BYTES + 3
    assert errors.status(tell(NotFound("Short.")))[1] == "Short."
