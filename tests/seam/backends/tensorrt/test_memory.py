"""Tests of the device memory of an engine: counted by kind, and given back by an unload."""

from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.backends.tensorrt.test_execution import PROFILES, rows

WEIGHTS = 1 << 20


def of_device(trt: TensorRt, engine: int) -> dict[str, int]:
    memory = trt.runtime.memory(engine)
    (device,) = memory.keys() - {"cpu"}
    assert memory["cpu"].keys() - {"staging"} == {"host"}
    return memory[device]


def test_weights_are_what_tensorrt_allocated_during_the_load(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nweights {WEIGHTS}", instances=1, cuda_graphs="off")
    assert of_device(trt, engine)["weights"] == WEIGHTS


def test_contexts_include_their_scratch_memory(trt11: TensorRt) -> None:
    engine = trt11.load_plan(f"{PROFILES}\nscratch 4096 per_item", instances=1, cuda_graphs="off")
    before = of_device(trt11, engine)["contexts"]
    trt11.infer(engine, x=rows(8), k=rows(8))
    assert of_device(trt11, engine)["contexts"] == before + 8 * 4096


def test_a_graph_counts_with_its_inputs_and_outputs(trt11: TensorRt) -> None:
    engine = trt11.load_plan(DOUBLE, instances=1, cuda_graphs="on")
    assert of_device(trt11, engine)["graphs"] == 0
    trt11.infer(engine, x=rows(4))
    assert trt11.counters(engine)["cuda_graph_captures"] == 1
    assert of_device(trt11, engine)["graphs"] >= 2 * rows(4).nbytes


def staging(trt: TensorRt, engine: int) -> int:
    return trt.runtime.memory(engine)["cpu"].get("staging", 0)


def test_staging_is_the_pinned_memory_of_the_largest_batch(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, instances=1)
    assert staging(trt, engine) == 0
    for size in (2, 4, 1):
        trt.infer(engine, x=rows(size))
    assert staging(trt, engine) == 2 * rows(4).nbytes  # its input and its output


def test_each_instance_has_its_own_staging(trt: TensorRt) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", instances=2)
    tickets = [trt.submit(engine, x=rows(2)) for _ in range(2)]
    trt.wait_for(gate, 2)
    trt.open(gate)
    trt.wait(*tickets)
    assert staging(trt, engine) == 2 * 2 * rows(2).nbytes


def test_an_unload_returns_when_the_devices_memory_is_back(trt: TensorRt) -> None:
    before = trt.device.fake_device_memory()
    engine = trt.load_plan(f"{DOUBLE}\nweights {WEIGHTS}")
    trt.infer(engine, x=rows(2))
    assert trt.device.fake_device_memory() >= before + WEIGHTS
    trt.runtime.unload(engine)
    assert trt.device.fake_device_memory() == before


def test_a_device_says_how_much_memory_it_has(trt: TensorRt) -> None:
    memory = trt.runtime.device_memory("fake:0")
    assert memory is not None
    free, total = memory
    assert 0 < free <= total
