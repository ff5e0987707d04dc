"""The metadata of the server and its models, in the protocol's terms."""

import pytest

from tests.fakes import engines
from tests.fakes.values import TensorSpec
from trtserve.oip import describe
from trtserve.version import VERSION


def test_the_server_metadata_lists_shared_memory_only_if_enabled() -> None:
    plain = describe.server_metadata()
    assert (plain["name"], plain["version"]) == ("trtserve", VERSION)
    assert "system_shared_memory" not in plain["extensions"]
    assert describe.server_metadata(shared_memory=True)["extensions"] == [
        *plain["extensions"],
        "system_shared_memory",
    ]


def test_model_metadata_has_whole_shapes_and_versions_as_text() -> None:
    assert describe.metadata(engines.ready(max_batch_size=8), [1, 2]) == {
        "name": "net",
        "versions": ["1", "2"],
        "platform": "openvino_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, -1]}],
        "outputs": [{"name": "y", "datatype": "BF16", "shape": [-1, 10]}],
    }


def test_a_scalar_has_no_dimensions_and_an_unknown_rank_is_one_dynamic_dimension() -> None:
    resolved = engines.ready(inputs=[TensorSpec("s", "INT64", [])], outputs=[TensorSpec("any", "FP32", None)])
    described = describe.metadata(resolved, [1])
    assert described["inputs"][0]["shape"] == []
    assert described["outputs"][0]["shape"] == [-1]


def test_an_unnamed_engine_is_called_by_its_id() -> None:
    assert describe.metadata(engines.ready(None, None), [1])["name"] == str(engines.ID)


@pytest.mark.parametrize(
    ("format", "platform"),
    [("tensorrt", "tensorrt_plan"), ("onnx", "openvino_onnx"), ("openvino", "openvino_blob")],
)
def test_every_format_has_its_platform(format: str, platform: str) -> None:
    assert describe.metadata(engines.ready(format=format), [1])["platform"] == platform
