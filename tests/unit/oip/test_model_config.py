"""The configuration of a model in Triton's terms."""

from typing import Any

import pytest

from tests.fakes import engines
from tests.fakes.values import ShapeRange, TensorSpec
from trtserve.oip.model_config import describe_config


def config(**made: Any) -> dict[str, Any]:
    return describe_config(engines.ready(**made), [1, 2])


def test_an_engine_that_joins_no_requests_has_no_batch_and_all_dimensions() -> None:
    model = config()
    assert model["max_batch_size"] == 0
    assert "dynamic_batching" not in model
    assert model["input"] == [
        {
            "name": "x",
            "data_type": "TYPE_FP32",
            "dims": [-1, 3, -1],
            "format": "FORMAT_NONE",
            "is_shape_tensor": False,
        }
    ]
    assert model["output"] == [{"name": "y", "data_type": "TYPE_BF16", "dims": [-1, 10]}]


def test_an_engine_that_joins_requests_leaves_the_batch_dimension_out() -> None:
    model = config(max_batch_size=8, max_queue_delay_us=250, preferred_batch_sizes="2,4", max_queue_size=64)
    assert model["max_batch_size"] == 8
    assert model["input"][0]["dims"] == [3, -1]
    assert model["output"][0]["dims"] == [10]
    assert model["dynamic_batching"] == {
        "preferred_batch_size": [2, 4],
        "max_queue_delay_microseconds": 250,
        "priority_levels": 3,
        "default_priority_level": 2,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "allow_timeout_override": True,
            "max_queue_size": 64,
        },
    }


def test_a_max_batch_size_is_shown_even_if_requests_are_not_joined() -> None:
    model = config(max_batch_size=16, max_queue_delay_us="never")
    assert model["max_batch_size"] == 16
    assert model["input"][0]["dims"] == [3, -1]
    assert model["output"][0]["dims"] == [10]
    assert "dynamic_batching" not in model
    assert model["parameters"].keys().isdisjoint({"max_batch_size", "max_queue_delay_us"})
    assert config(max_batch_size=1, max_queue_delay_us="never")["max_batch_size"] == 1
    for shape in ([4, 10], [], None):  # no dimension 0 that a request can choose
        model = config(
            max_batch_size=16, max_queue_delay_us="never", outputs=[TensorSpec("y", "FP32", shape)]
        )
        assert (model["max_batch_size"], model["input"][0]["dims"]) == (0, [-1, 3, -1])


@pytest.mark.parametrize(
    ("shape", "batched", "format"),
    [
        ([-1, 3, 224, 224], True, "FORMAT_NCHW"),
        ([-1, 1, 28, 28], True, "FORMAT_NCHW"),
        ([-1, 3, -1, -1], True, "FORMAT_NCHW"),
        ([-1, 224, 224, 3], True, "FORMAT_NHWC"),
        ([3, 224, 224], False, "FORMAT_NCHW"),
        ([224, 224, 3], False, "FORMAT_NHWC"),
        ([1, 128, 64], False, "FORMAT_NONE"),
        ([-1, 3, 224, 224], False, "FORMAT_NONE"),
        ([-1, 3, 224, 3], True, "FORMAT_NONE"),
        ([-1, 16, 224, 224], True, "FORMAT_NONE"),
        ([-1, 3], True, "FORMAT_NONE"),
        (None, True, "FORMAT_NONE"),
    ],
)
def test_an_input_that_looks_like_an_image_has_its_format(
    shape: list[int] | None, batched: bool, format: str
) -> None:
    model = config(inputs=[TensorSpec("x", "FP32", shape)], max_batch_size=8 if batched else 1)
    assert model["input"][0]["format"] == format


def test_an_automatic_delay_is_shown_as_its_latency_target() -> None:
    model = config(max_batch_size=8, max_queue_delay_us="auto", latency_target_us=2000)
    assert model["dynamic_batching"]["max_queue_delay_microseconds"] == 2000
    assert model["parameters"]["max_queue_delay_us"] == {"string_value": "auto"}


def test_a_batch_in_another_dimension_is_shown_only_in_parameters() -> None:
    model = config(max_batch_size=8, batch_dims="x:0,y:1")
    assert model["max_batch_size"] == 0
    assert "dynamic_batching" not in model
    assert model["output"][0]["dims"] == [-1, 10]
    assert model["parameters"]["batch_dims"] == {"string_value": "x:0,y:1"}
    assert model["parameters"]["max_batch_size"] == {"string_value": "8"}
    assert config(max_batch_size=8, batch_dims="x:0,y:0")["max_batch_size"] == 8


def test_an_unknown_rank_is_one_dynamic_dimension_with_or_without_a_batch() -> None:
    unknown = [TensorSpec("any", "FP32", None)]
    for size in (1, 8):
        assert config(outputs=unknown, max_batch_size=size)["output"][0]["dims"] == [-1]


def test_an_input_whose_values_decide_shapes_is_a_shape_tensor() -> None:
    shape = TensorSpec("n", "INT64", [1], values=[ShapeRange([1], [2], [4])])
    assert [each["is_shape_tensor"] for each in config(inputs=[engines.X, shape])["input"]] == [False, True]


@pytest.mark.parametrize(
    ("device", "kind", "gpus"),
    [
        ("cpu", "KIND_CPU", []),
        ("cuda", "KIND_GPU", [0]),
        ("cuda:0", "KIND_GPU", [0]),
        ("cuda:3", "KIND_GPU", [3]),
        ("cuda:1,cuda:0", "KIND_GPU", [1, 0]),
    ],
)
def test_instances_form_a_group_on_their_devices(device: str, kind: str, gpus: list[int]) -> None:
    (group,) = config(device=device)["instance_group"]
    assert group == {"name": "net", "count": 3, "kind": kind, "gpus": gpus}


def test_the_config_names_the_backend_the_versions_and_the_backend_options() -> None:
    model = config()
    assert (model["name"], model["platform"], model["backend"]) == ("net", "openvino_onnx", "openvino")
    assert model["version_policy"] == {"specific": {"versions": [1, 2]}}
    parameters = model["parameters"]
    assert parameters["digest"] == {"string_value": "sha256:ce67"}
    assert parameters["engine_id"] == {"string_value": str(engines.ID)}
    assert parameters["precision"] == {"string_value": "f16"}
    assert "cuda_graphs" not in parameters
    parameters = config(format="tensorrt", backend="tensorrt", cuda_graphs="on")["parameters"]
    assert parameters["format"] == {"string_value": "tensorrt"}
    assert parameters["cuda_graphs"] == {"string_value": "on"}
    assert "precision" not in parameters
