"""Converting the config of a load from Triton's terms to our options."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from trtserve.errors import InvalidInput, TooLarge, TrtserveError, Unsupported
from trtserve.formats.format import Format
from trtserve.oip.config_reader import MOST_CHARACTERS, read_config
from trtserve.options.batching import NEVER

UNBATCHED = {"max_batch_size": 1, "preferred_batch_sizes": ""}


def options(**config: Any) -> dict[str, Any]:
    return read_config(json.dumps(config), "net").options.asked()


def refused(kind: type[TrtserveError], **config: Any) -> str:
    with pytest.raises(kind) as failure:
        read_config(json.dumps(config), "net")
    return str(failure.value)


def test_without_dynamic_batching_requests_are_not_joined() -> None:
    assert options() == UNBATCHED
    assert options(max_batch_size=8) == UNBATCHED
    assert options(max_batch_size=8, dynamic_batching={}) == UNBATCHED | {"max_batch_size": 8}
    assert options(dynamic_batching={}) == UNBATCHED


def test_a_max_batch_size_is_kept_even_if_requests_are_not_joined() -> None:
    def asked(**config: Any) -> dict[str, Any]:
        read = read_config(json.dumps(config), "net").asked.asked()
        return {option: read[option] for option in ("max_batch_size", "max_queue_delay_us") if option in read}

    assert asked(max_batch_size="16") == {"max_batch_size": 16, "max_queue_delay_us": NEVER}
    assert asked(max_batch_size=1) == {"max_batch_size": 1, "max_queue_delay_us": NEVER}
    assert asked() == asked(max_batch_size=0) == {"max_batch_size": 1}
    assert asked(max_batch_size=16, dynamic_batching={}) == {"max_batch_size": 16}
    by_name = {"max_batch_size": {"string_value": "4"}}
    assert asked(max_batch_size=16, parameters=by_name) == {"max_batch_size": 4}


def test_dynamic_batching_sets_the_batch_options() -> None:
    batching = {
        "preferred_batch_size": [8, 4],
        "max_queue_delay_microseconds": 100,
        "default_queue_policy": {"max_queue_size": 7, "timeout_action": "REJECT"},
        "preserve_ordering": True,
    }
    assert options(max_batch_size=8, dynamic_batching=batching) == {
        "max_batch_size": 8,
        "preferred_batch_sizes": "4,8",
        "max_queue_delay_us": 100,
        "max_queue_size": 7,
    }


def test_integers_in_a_config_can_be_written_as_floats() -> None:
    batching = {"preferred_batch_size": [4.0], "max_queue_delay_microseconds": 100.0}
    groups = [{"count": 2.0, "gpus": [1.0]}]
    read = options(max_batch_size=8.0, dynamic_batching=batching, instance_group=groups)
    asked = {name: read[name] for name in ("max_batch_size", "preferred_batch_sizes", "max_queue_delay_us")}
    assert asked == {"max_batch_size": 8, "preferred_batch_sizes": "4", "max_queue_delay_us": 100}
    assert (read["instances"], read["device"]) == (2, "cuda:1")
    for wrong in (1.5, 1e300):
        assert f"max_batch_size is {wrong}" in refused(InvalidInput, max_batch_size=wrong)


def test_a_config_can_use_the_json_of_protobuf() -> None:
    assert options(maxBatchSize=8, dynamicBatching={"maxQueueDelayMicroseconds": "100"}) == {
        "max_batch_size": 8,
        "preferred_batch_sizes": "",
        "max_queue_delay_us": 100,
    }


@pytest.mark.parametrize(
    ("groups", "asked"),
    [
        ([], {}),
        ([{}], {}),
        ([{"count": 3}], {"instances": 3}),
        ([{"count": 2, "kind": "KIND_CPU"}], {"instances": 2, "device": "cpu"}),
        ([{"kind": "KIND_GPU"}], {"device": "cuda"}),
        ([{"kind": "KIND_GPU", "gpus": [1]}, {"kind": "KIND_GPU", "gpus": [1]}], {"device": "cuda:1"}),
        ([{"count": 1, "gpus": [0]}, {"count": 2, "gpus": [0]}], {"instances": 3, "device": "cuda:0"}),
        ([{"count": 1, "kind": "KIND_MODEL", "name": "a"}], {"instances": 1}),
        ([{"kind": "KIND_GPU", "gpus": [0, 1]}], {"device": "cuda:0,cuda:1"}),
        ([{"kind": "KIND_GPU", "gpus": [1, 0, 1], "count": 2}], {"device": "cuda:1,cuda:0", "instances": 2}),
        ([{"gpus": [0], "count": 2}, {"gpus": [1], "count": 2}], {"device": "cuda:0,cuda:1", "instances": 2}),
        (
            [{"gpus": [0, 1], "count": 1}, {"gpus": [0, 1], "count": 2}],
            {"device": "cuda:0,cuda:1", "instances": 3},
        ),
    ],
)
def test_instance_groups_set_instances_on_each_device(
    groups: list[dict[str, Any]], asked: dict[str, Any]
) -> None:
    assert options(instance_group=groups) == UNBATCHED | asked


def test_samples_to_warm_up_with_are_executions() -> None:
    samples = [
        {"name": "one", "batch_size": 2, "inputs": {"x": {"dims": [3, 4], "zero_data": True}}},
        {"name": "none"},
        {
            "count": 5,
            "inputs": {
                "y": {"data_type": "TYPE_INT32", "dims": [7], "random_data": True},
                "x": {"dims": [3, 4], "input_data_file": "raw"},
            },
        },
    ]
    assert options(model_warmup=samples) == UNBATCHED | {"warm_up": "x:2x3x4;x:3x4,y:7"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([{"kind": "KIND_CPU"}, {"kind": "KIND_GPU"}], "several kinds of devices"),
        ([{"kind": "KIND_CPU"}, {"gpus": [1]}], "several kinds of devices"),
        ([{"kind": "KIND_GPU"}, {"gpus": [1]}], "several kinds of devices"),
        ([{"gpus": [0], "count": 1}, {"gpus": [1], "count": 2}], "1 on cuda:0, 2 on cuda:1"),
        ([{"gpus": [0, 1]}, {"gpus": [1], "count": 2}], "0 on cuda:0, 2 on cuda:1"),
    ],
)
def test_instance_groups_that_an_engine_cannot_have_are_refused(
    groups: list[dict[str, Any]], message: str
) -> None:
    assert message in refused(Unsupported, instance_group=groups)


@pytest.mark.parametrize(
    ("config", "formats"),
    [
        ({}, set(Format)),
        ({"backend": "tensorrt"}, {Format.TENSORRT}),
        ({"platform": "tensorrt_plan"}, {Format.TENSORRT}),
        ({"backend": "onnxruntime"}, {Format.ONNX}),
        ({"platform": "pytorch_libtorch"}, {Format.TORCHSCRIPT}),
        ({"backend": "openvino"}, {Format.ONNX, Format.OPENVINO}),
        ({"backend": "openvino", "platform": "onnxruntime_onnx"}, {Format.ONNX}),
    ],
)
def test_backend_and_platform_select_the_format(config: dict[str, str], formats: set[Format]) -> None:
    assert read_config(json.dumps(config), "net").formats == formats


def test_an_unavailable_backend_is_refused_with_the_available_ones() -> None:
    sentence = refused(Unsupported, platform="tensorflow_savedmodel")
    assert sentence.startswith(
        "This server does not support the config's platform 'tensorflow_savedmodel'; it supports"
    )
    assert "onnxruntime" in sentence
    assert "do not agree" in refused(InvalidInput, backend="tensorrt", platform="onnxruntime_onnx")


def test_parameters_set_the_options_of_an_upload() -> None:
    said = {"precision": "bf16", "batch_dims": "x:1", "max_batch_size": "8", "engine_id": "7", "digest": "d"}
    assert options(parameters={name: {"string_value": value} for name, value in said.items()}) == {
        "precision": "bf16",
        "batch_dims": "x:1",
        "max_batch_size": 8,
    }
    assert "'threads'" in refused(Unsupported, parameters={"threads": {"string_value": "4"}})


def test_a_parameter_can_be_auto_only_where_the_config_cannot_express_it() -> None:
    batching = {"max_queue_delay_microseconds": 10_000}
    delay = {"max_queue_delay_us": {"string_value": "auto"}}
    asked = options(max_batch_size=8, dynamic_batching=batching, parameters=delay)
    assert asked["max_queue_delay_us"] == "auto"
    size = {"max_batch_size": {"string_value": "4"}}
    sentence = refused(InvalidInput, max_batch_size=8, dynamic_batching=batching, parameters=size)
    assert sentence.startswith("The config's max_batch_size is 8, but its parameter 'max_batch_size' is '4'")


def test_tritons_setting_enables_cuda_graphs() -> None:
    assert options(optimization={"cuda": {"graphs": True}})["cuda_graphs"] == "on"
    assert options(optimization={"cuda": {"graphs": False}})["cuda_graphs"] == "off"
    assert "cuda_graphs" not in options(optimization={"input_pinned_memory": {"enable": True}})


@pytest.mark.parametrize(
    "config",
    [
        {"ensemble_scheduling": {"step": []}},
        {"sequence_batching": {}},
        {"model_transaction_policy": {"decoupled": True}},
        {"response_cache": {"enable": True}},
        {"model_operations": {"op_library_filename": ["a.so"]}},
        {"model_repository_agents": {"agents": [{}]}},
        {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt"}]}}},
        {"batch_input": [{}]},
        {"batch_output": [{}]},
        {"input": [{"name": "x", "reshape": {"shape": [1]}}]},
        {"output": [{"name": "y", "reshape": {"shape": []}}]},
        {"input": [{"allow_ragged_batch": True}]},
        {"dynamic_batching": {"priority_levels": 2}},
        {"dynamic_batching": {"priority_levels": 3, "default_priority_level": 1}},
        {"dynamic_batching": {"priority_queue_policy": {"1": {}}}},
        {"dynamic_batching": {"default_queue_policy": {"default_timeout_microseconds": 1}}},
        {"instance_group": [{"passive": True}]},
        {"instance_group": [{"secondary_devices": [{}]}]},
    ],
)
def test_an_unsupported_setting_that_would_change_answers_is_refused(config: dict[str, Any]) -> None:
    assert "this server does not support: " in refused(Unsupported, **config)


def test_an_unsupported_setting_that_changes_no_answer_is_ignored() -> None:
    config = {
        "name": "net",
        "version_policy": {"specific": {"versions": [1]}},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4], "is_shape_tensor": False}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [4], "label_filename": ""}],
        "inputs": [],
        "model_warmup": [{"name": "zeros"}],
        "model_metrics": {"metric_control": []},
        "runtime": "libtriton_other.so",
        "instance_group": [{"rate_limiter": {"resources": []}, "profile": ["0"], "host_policy": "numa_0"}],
        "model_transaction_policy": {"decoupled": False},
        "response_cache": {"enable": False},
        "dynamic_batching": None,
        "metric_tags": {"a": "b"},
        "default_model_filename": "model.onnx",
    }
    assert options(**config) == UNBATCHED


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"max_batch_size": -1}, "The config's max_batch_size is -1: Input should be greater"),
        (
            {"max_batch_size": "many"},
            "The config's max_batch_size is 'many': Input should be a valid integer",
        ),
        ({"max_batch_size": 70_000, "dynamic_batching": {}}, "The config's max_batch_size is 70000"),
        (
            {"dynamic_batching": {"max_queue_delay_microseconds": 10**9}},
            "The config's dynamic_batching.max_queue_delay_microseconds is 1000000000: Input",
        ),
        ({"dynamic_batching": {"preferred_batch_size": [0]}}, "dynamic_batching.preferred_batch_size is '0'"),
        ({"instance_group": [{"count": 1000}]}, "The config's instance_group.count is 1000"),
        ({"instance_group": [{"gpus": [-1]}]}, "The config's instance_group.gpus is 'cuda:-1'"),
        ({"instance_group": [{"kind": "KIND_TPU"}]}, "The config's instance_group.0.kind is 'KIND_TPU'"),
        ({"instance_group": {}}, "The config's instance_group is {}"),
        (
            {"dynamic_bathcing": {}},
            "has a field 'dynamic_bathcing', which Triton's ModelConfig does not have",
        ),
        ({"name": "nat"}, "The config is for 'nat', but the load is for 'net'."),
        ({"parameters": {"precision": {"string_value": "f8"}}}, "The config's precision is 'f8'"),
    ],
)
def test_a_wrong_config_is_refused_with_the_reason(config: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(InvalidInput, **config)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", 5, None, {}])
def test_a_config_other_than_a_json_object_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match="The parameter 'config'"):
        read_config(text, "net")


@pytest.mark.parametrize("kind", [str, lambda text: memoryview(text.encode())], ids=["text", "view"])
def test_an_oversized_config_is_refused_before_it_is_read(kind: Callable[[str], object]) -> None:
    with pytest.raises(TooLarge, match=f"has {MOST_CHARACTERS + 1} characters; this server reads at most"):
        read_config(kind("[" * (MOST_CHARACTERS + 1)), "net")
    read_config(kind("{" + " " * (MOST_CHARACTERS - 2) + "}"), "net")


@pytest.mark.parametrize("field", ["input", "output", "instance_group"])
def test_a_config_with_too_many_entries_is_refused(field: str) -> None:
    assert f"The config's {field}" in refused(InvalidInput, **{field: [{}] * 5000})


def test_a_config_of_letters_alone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="The parameter 'config' is not valid JSON"):
        read_config(memoryview(b"A" * 5000), "net")
