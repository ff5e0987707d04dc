"""What a config.pbtxt of Triton's asks of an engine."""

import json

import pytest

from tests.unit.folder.configs import ENSEMBLE, LIBTORCH, PLAN, PYTHON, RESNET, SEQUENCE
from trtserve.errors import InvalidInput, TooLarge
from trtserve.folder.model_config import FolderConfig, NotServed
from trtserve.formats.format import Format
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings


def options(config: FolderConfig, format: Format = Format.ONNX) -> EngineOptions:
    return config.options(config.asked, format, Settings())


def test_a_config_sets_the_options_of_its_engine() -> None:
    asked = options(FolderConfig.read(RESNET, "resnet50"))
    assert asked.max_batch_size == 8
    assert asked.preferred_batch_sizes == "4,8"
    assert asked.max_queue_delay_us == 100
    assert asked.max_queue_size == 32
    assert asked.instances == 2
    assert asked.device == "cpu"
    assert asked.warm_up == "x:1x3x224x224"


def test_everything_that_is_ignored_is_told_and_nothing_else() -> None:
    assert FolderConfig.read(RESNET, "resnet50").ignored == [
        "instance_group.rate_limiter",
        "optimization.graph",
        "parameters.intra_op_thread_count",
    ]
    assert FolderConfig.read(PLAN, "net").ignored == ["optimization.cuda.busy_wait_events"]


def test_the_labels_of_outputs_are_the_lines_of_files() -> None:
    config = FolderConfig.read(RESNET, "resnet50")
    assert config.label_files == {"y": "labels.txt"}
    assert options(config).labels == ""
    labelled = config.with_labels({"labels.txt": "cat\nhören\n".encode()})
    assert json.loads(options(labelled).labels) == {"y": ["cat", "hören"]}
    with pytest.raises(InvalidInput, match=r"labels.txt is not text in UTF-8"):
        config.with_labels({"labels.txt": b"\xff"})


def test_labels_that_are_more_than_an_engine_may_have_are_refused() -> None:
    config = FolderConfig.read(RESNET, "resnet50")
    with pytest.raises(TooLarge, match="at most 1048576 are allowed"):
        config.with_labels({"labels.txt": b"\n" * 500_000})
    # A file that many outputs name would become many times as long in memory.
    outputs = "".join(f'output {{ name: "{n}" label_filename: "l" }}' for n in range(4000))
    many = FolderConfig.read(outputs.encode(), "net")
    with pytest.raises(TooLarge, match="have 2000000000 bytes"):
        many.with_labels({"l": b"\n" * 500_000})


@pytest.mark.parametrize("name", ["a\\000b", "../labels", "a/b", ".hidden", "a\\nb"])
def test_a_file_that_no_model_can_have_is_refused(name: str) -> None:
    for text in (f'output {{ name: "y" label_filename: "{name}" }}', f'default_model_filename: "{name}"'):
        with pytest.raises(InvalidInput, match="must be the name of a file in the model's folder"):
            FolderConfig.read(text.encode(), "net")


@pytest.mark.parametrize(
    "outputs",
    [
        'output { name: "y" data_type: TYPE_UINT16 dims: [1] }',  # torch does not compute with it
        "".join(f'output {{ name: "y{n}" data_type: TYPE_FP32 dims: [1] }}' for n in range(2000)),
    ],
)
def test_tensors_that_no_option_can_have_are_refused(outputs: str) -> None:
    config = FolderConfig.read(f'backend: "pytorch" {outputs}'.encode(), "net")
    with pytest.raises(
        InvalidInput, match="What the config says for the option tensors is not allowed: Input should be"
    ):
        options(config, Format.TORCHSCRIPT)


def test_a_config_without_dynamic_batching_keeps_requests_apart() -> None:
    config = FolderConfig.read(PLAN, "net")
    assert config.load.format == Format.TENSORRT
    asked = options(config, Format.TENSORRT)
    assert asked.max_queue_delay_us == "never"
    assert asked.max_batch_size == 16
    assert asked.device == "cuda:0,cuda:1"
    assert asked.cuda_graphs == "on"
    assert config.asked.max_batch_size == 16  # a plan that is built takes as many
    assert "max_queue_delay_us" not in config.asked.asked()


def test_a_module_has_its_tensors_from_the_config_in_the_order_of_their_numbers() -> None:
    config = FolderConfig.read(LIBTORCH, "sum")
    document = json.loads(options(config, Format.TORCHSCRIPT).tensors)
    assert document == {
        "inputs": [
            {"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 16]},
            {"name": "INPUT__1", "datatype": "FP32", "shape": [-1, 16]},
        ],
        "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": [-1, 16]}],
    }
    assert options(config, Format.ONNX).tensors == ""


def test_all_options_are_asked_for_so_that_one_that_left_the_config_has_no_effect() -> None:
    asked = options(FolderConfig()).asked()
    assert asked.keys() == EngineOptions.model_fields.keys()
    assert asked["max_batch_size"] == "auto"


@pytest.mark.parametrize(
    ("text", "name", "fields"),
    [
        (ENSEMBLE, "pipeline", ["ensemble_scheduling", "response_cache"]),
        (SEQUENCE, "counter", ["sequence_batching"]),
        (PYTHON, "pre", ["backend 'python'"]),
    ],
)
def test_all_that_would_change_answers_is_told_at_once(text: bytes, name: str, fields: list[str]) -> None:
    with pytest.raises(NotServed) as refused:
        FolderConfig.read(text, name)
    assert len(refused.value.reasons) == len(fields)
    for reason, field in zip(refused.value.reasons, fields, strict=True):
        assert field in reason


def test_a_field_that_triton_does_not_have_yet_is_ignored_and_told() -> None:
    config = FolderConfig.read(b'name: "net"\nnew_thing { depth: 3 }\nmax_batch_size: 2', "net")
    assert options(config).max_batch_size == 2
    (told,) = config.ignored
    assert "line 2" in told
    assert "new_thing" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"name: 'net", "config.pbtxt is not a ModelConfig in protobuf's text format: 1:7"),
        (b"max_batch_size: many", "config.pbtxt is not a ModelConfig in protobuf's text format: 1:17"),
        (b"unknown { \xff }", "config.pbtxt is not text in UTF-8"),
        (b"unknown { depth: 3 } max_batch_size: many", "config.pbtxt is not a ModelConfig"),
        (b"a {" * 5000 + b"}" * 5000, "its messages are nested too deeply"),
        (b'name: "nat"', "The config is for 'nat', but the load is for 'net'"),
        (b'default_model_filename: "../secret"', "The config names the file '../secret'"),
        (b'default_model_filename: ".hidden"', "The config names the file '.hidden'"),
        (b'output { name: "y" label_filename: "/etc/passwd" }', "The config names the file '/etc/passwd'"),
        (b"max_batch_size: -1", "The config's max_batch_size is -1"),
    ],
)
def test_a_config_that_cannot_be_read_says_where(text: bytes, told: str) -> None:
    with pytest.raises((InvalidInput, NotServed)) as refused:
        FolderConfig.read(text, "net")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (b"", [10]),
        (b"version_policy { latest { } }", [10]),
        (b"version_policy { latest { num_versions: 2 } }", [3, 10]),
        (b"version_policy { latest { num_versions: 9 } }", [1, 3, 10]),
        (b"version_policy { all { } }", [1, 3, 10]),
        (b"version_policy { specific { versions: [ 3, 1, 7 ] } }", [1, 3]),
        (b"version_policy { specific { versions: [ 7 ] } }", []),
    ],
)
def test_the_version_policy_chooses_versions(policy: bytes, chosen: list[int]) -> None:
    assert FolderConfig.read(policy, "net").chosen([10, 1, 3]) == chosen
