"""What a load's config, in Triton's words, comes to in ours."""

import json
from typing import Any

import pytest

from trtserve.errors import InvalidInput, TrtserveError, Unsupported
from trtserve.formats.format import Format
from trtserve.oip.config_reader import read_config
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


def test_a_max_batch_size_is_kept_where_requests_are_not_joined() -> None:
    def asked(**config: Any) -> dict[str, Any]:
        told = read_config(json.dumps(config), "net").asked.asked()
        return {option: told[option] for option in ("max_batch_size", "max_queue_delay_us") if option in told}

    assert asked(max_batch_size="16") == {"max_batch_size": 16, "max_queue_delay_us": NEVER}
    assert asked(max_batch_size=1) == {"max_batch_size": 1, "max_queue_delay_us": NEVER}
    assert asked() == asked(max_batch_size=0) == {"max_batch_size": 1}
    assert asked(max_batch_size=16, dynamic_batching={}) == {"max_batch_size": 16}
    by_name = {"max_batch_size": {"string_value": "4"}}
    assert asked(max_batch_size=16, parameters=by_name) == {"max_batch_size": 4}


def test_what_dynamic_batching_says_is_asked_for() -> None:
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


def test_whole_numbers_of_a_config_may_be_floats() -> None:
    batching = {"preferred_batch_size": [4.0], "max_queue_delay_microseconds": 100.0}
    groups = [{"count": 2.0, "gpus": [1.0]}]
    told = options(max_batch_size=8.0, dynamic_batching=batching, instance_group=groups)
    asked = {name: told[name] for name in ("max_batch_size", "preferred_batch_sizes", "max_queue_delay_us")}
    assert asked == {"max_batch_size": 8, "preferred_batch_sizes": "4", "max_queue_delay_us": 100}
    assert (told["instances"], told["device"]) == (2, "cuda:1")
    for wrong in (1.5, 1e300):
        assert f"max_batch_size is {wrong}" in refused(InvalidInput, max_batch_size=wrong)


def test_a_config_may_be_written_as_protobuf_writes_json() -> None:
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
    ],
)
def test_instance_groups_are_instances_on_one_device(
    groups: list[dict[str, Any]], asked: dict[str, Any]
) -> None:
    assert options(instance_group=groups) == UNBATCHED | asked


@pytest.mark.parametrize(
    "groups",
    [
        [{"kind": "KIND_CPU"}, {"kind": "KIND_GPU"}],
        [{"kind": "KIND_GPU", "gpus": [0, 1]}],
        [{"kind": "KIND_GPU", "gpus": [0]}, {"kind": "KIND_GPU", "gpus": [1]}],
    ],
)
def test_an_engine_is_on_one_device(groups: list[dict[str, Any]]) -> None:
    assert "several devices" in refused(Unsupported, instance_group=groups)


@pytest.mark.parametrize(
    ("config", "formats"),
    [
        ({}, set(Format)),
        ({"backend": "tensorrt"}, {Format.TENSORRT}),
        ({"platform": "tensorrt_plan"}, {Format.TENSORRT}),
        ({"backend": "onnxruntime"}, {Format.ONNX}),
        ({"backend": "openvino"}, {Format.ONNX, Format.OPENVINO}),
        ({"backend": "openvino", "platform": "onnxruntime_onnx"}, {Format.ONNX}),
    ],
)
def test_backend_and_platform_stand_for_formats(config: dict[str, str], formats: set[Format]) -> None:
    assert read_config(json.dumps(config), "net").formats == formats


def test_a_backend_that_is_not_here_is_told_with_those_that_are() -> None:
    sentence = refused(Unsupported, platform="pytorch_libtorch")
    assert sentence.startswith(
        "This server has nothing for the config's platform 'pytorch_libtorch'; it knows"
    )
    assert "onnxruntime" in sentence
    assert "do not agree" in refused(InvalidInput, backend="tensorrt", platform="onnxruntime_onnx")


def test_parameters_are_options_of_an_upload() -> None:
    said = {"precision": "bf16", "batch_dims": "x:1", "max_batch_size": "8", "engine_id": "7", "digest": "d"}
    assert options(parameters={name: {"string_value": value} for name, value in said.items()}) == {
        "precision": "bf16",
        "batch_dims": "x:1",
        "max_batch_size": 8,
    }
    assert "'threads'" in refused(Unsupported, parameters={"threads": {"string_value": "4"}})


def test_a_parameter_may_say_auto_where_a_config_has_no_word_for_it_but_nothing_else() -> None:
    batching = {"max_queue_delay_microseconds": 10_000}
    delay = {"max_queue_delay_us": {"string_value": "auto"}}
    asked = options(max_batch_size=8, dynamic_batching=batching, parameters=delay)
    assert asked["max_queue_delay_us"] == "auto"
    size = {"max_batch_size": {"string_value": "4"}}
    sentence = refused(InvalidInput, max_batch_size=8, dynamic_batching=batching, parameters=size)
    assert sentence.startswith("The config's max_batch_size is 8, but its parameter 'max_batch_size' is '4'")


def test_cuda_graphs_are_asked_for_where_triton_has_them() -> None:
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
def test_what_would_change_answers_and_is_not_here_is_refused(config: dict[str, Any]) -> None:
    assert "this server has not: " in refused(Unsupported, **config)


def test_what_changes_no_answer_is_passed_over() -> None:
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
            "has a field 'dynamic_bathcing', which Triton's ModelConfig has not",
        ),
        ({"name": "nat"}, "The config is that of 'nat', but 'net' is to be loaded."),
        ({"parameters": {"precision": {"string_value": "f8"}}}, "The config's precision is 'f8'"),
    ],
)
def test_a_wrong_config_is_told(config: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(InvalidInput, **config)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", 5, None, {}])
def test_a_config_that_is_no_json_object_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match="The parameter 'config'"):
        read_config(text, "net")
