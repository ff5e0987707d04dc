"""The option tensors of an upload: a JSON document that describes a module's inputs and outputs."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtserve.options.json_documents import JsonDocument

MOST_CHARACTERS = 65_536
EXAMPLE = (
    '{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,3,224,224]}],'
    '"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1000]}]}'
)
DOCUMENT = JsonDocument("tensors", EXAMPLE, MOST_CHARACTERS)


Datatype = Literal[
    "BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"
]  # of the protocol's, those that torch computes with, and strings


class TensorDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=256)]
    datatype: Datatype
    shape: Annotated[list[Annotated[int, Field(ge=-1, lt=2**63)]], Field(max_length=64)]


class TensorsDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: list[TensorDocument]
    outputs: Annotated[list[TensorDocument], Field(min_length=1)]


def canonical_tensors(given: str) -> str:
    """The document as it is stored: without spaces, the fields in one order; empty: none was given.

    Raises PydanticCustomError, which says what is wrong and shows an example.
    """
    if not given:
        return given
    DOCUMENT.check_length(given)
    try:
        return TensorsDocument.model_validate_json(given).model_dump_json()
    except ValidationError as failure:
        first = failure.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DOCUMENT.wrong(given, f"{where}: {first['msg']}" if where else first["msg"]) from None
