"""Reads a config.pbtxt: Triton's ModelConfig in protobuf's text format."""

from typing import Any, NamedTuple

from trtserve.errors import InvalidInput
from trtserve.text import cut

UNKNOWN = "has no field named"  # in protobuf's error


class TextConfig(NamedTuple):
    config: dict[str, Any]  # as protobuf's JSON has it, with the names of the message's fields
    unknown: str  # a sentence about fields that ModelConfig does not have; empty: there are none


def read_text(text: bytes) -> TextConfig:
    """Fields that ModelConfig does not have are ignored: a newer Triton may have them.

    Raises InvalidInput, with line and column, for a text that is none. Blocks.
    """
    # Here, because a process has no use for protobuf without a folder or gRPC.
    from google.protobuf import json_format, text_format

    from trtserve.folder.model_config_pb2 import ModelConfig

    try:
        decoded = text.decode()
    except UnicodeDecodeError as failure:
        raise InvalidInput(f"config.pbtxt is not text in UTF-8: {failure}.") from None
    unknown = ""
    try:
        try:
            config = text_format.Parse(decoded, ModelConfig())
        except text_format.ParseError as failure:
            if UNKNOWN not in str(failure):
                raise
            unknown = f"line {cut(str(failure))}".rstrip(".")
            config = text_format.Parse(decoded, ModelConfig(), allow_unknown_field=True)
    except text_format.ParseError as failure:
        raise _wrong(str(failure)) from None
    except RecursionError:
        raise _wrong("its messages are nested too deeply") from None
    return TextConfig(json_format.MessageToDict(config, preserving_proto_field_name=True), unknown)


def _wrong(why: str) -> InvalidInput:
    return InvalidInput(f"config.pbtxt is not a ModelConfig in protobuf's text format: {cut(why)}.")
