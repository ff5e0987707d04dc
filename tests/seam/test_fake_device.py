"""Tests of the fake device that other tests use: asynchronous like a real one, and strict about its rules."""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from ctypes import CDLL
from pathlib import Path

import pytest
import torch

from tests.fakes import device
from tests.waiting import HANGS_AFTER_S

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
POISONED_BYTE = 0xDD


@pytest.fixture
def fake() -> Iterator[CDLL]:
    """Yield the device's controls; afterwards, reset them and check that no breach remains."""
    controls = device.load()
    controls.fake_breaches_clear()
    yield controls
    controls.fake_device_break(None)
    controls.fake_device_limit(-1)
    controls.fake_device_count_set(1)
    controls.fake_device_release()
    torch.accelerator.synchronize()
    assert controls.fake_breaches() == b""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as threads:
        yield threads


def breaches_of(fake: CDLL) -> list[str]:
    """Return the recorded breaches, and clear them."""
    sentences = fake.fake_breaches().decode().splitlines()
    fake.fake_breaches_clear()
    return sentences


def pinned(*values: float) -> torch.Tensor:
    return torch.tensor(values).pin_memory()


def filled(value: int) -> torch.Tensor:
    """Return one finished MiB on the device, with every byte the same."""
    tensor = torch.full((MIB,), value, dtype=torch.uint8, device="fake")
    torch.accelerator.synchronize()
    return tensor


def test_a_copy_from_pinned_memory_returns_before_it_is_done(fake: CDLL) -> None:
    source = pinned(1, 2, 3)
    fake.fake_device_hold()
    copied = source.to("fake", non_blocking=True)
    back = torch.zeros(3).pin_memory()
    back.copy_(copied, non_blocking=True)
    assert fake.fake_device_pending() == 2
    assert not torch.accelerator.current_stream().query()
    assert back.tolist() == [0, 0, 0]
    fake.fake_device_release()
    torch.accelerator.current_stream().synchronize()
    assert back.tolist() == [1, 2, 3]
    assert fake.fake_device_pending() == 0


def test_a_copy_from_pageable_memory_blocks(fake: CDLL, threads: ThreadPoolExecutor) -> None:
    fake.fake_device_hold()
    copied: Future[torch.Tensor] = threads.submit(torch.ones(3).to, "fake", non_blocking=True)
    fake.fake_device_await_pending(1)
    assert not copied.done()
    fake.fake_device_release()
    assert copied.result().tolist() == [1, 1, 1]


def test_copies_convert_and_restride(fake: CDLL) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    on_device = x.to("fake")
    assert torch.equal(on_device.t().to("cpu", torch.float64), x.t().double())
    target = torch.zeros(3, 2, dtype=torch.int32, device="fake")
    target.copy_(on_device.t())
    assert torch.equal(target.cpu(), x.t().int())
    assert torch.equal(torch.zeros(4, 6, device="fake")[::2, ::2].copy_(x).cpu(), x)
    assert torch.equal((on_device @ on_device.t()).cpu(), x @ x.t())  # an operator that the device lacks


def test_two_streams_run_independently_except_for_events(fake: CDLL) -> None:
    first, second = torch.Stream(device="fake"), torch.Stream(device="fake")
    x = filled(0)
    done = torch.Event(device="fake")
    seen = torch.zeros(MIB, dtype=torch.uint8).pin_memory()
    fake.fake_device_hold()
    with first:
        x.fill_(7)
        done.record(first)
    with second:
        done.wait(second)
        seen.copy_(x, non_blocking=True)
    assert not done.query()
    assert not second.query()
    fake.fake_device_release()
    second.synchronize()
    assert done.query()
    assert seen.eq(7).all()


def test_an_event_stands_for_its_recording_at_the_time_of_the_wait(fake: CDLL) -> None:
    first, second, third = (torch.Stream(device="fake") for _ in range(3))
    event = torch.Event(device="fake")
    event.record(first)
    event.wait(second)
    fake.fake_device_hold()
    event.record(third)
    assert not event.query()
    fake.fake_device_release()
    event.synchronize()
    second.synchronize()
    assert event.query()


@pytest.mark.parametrize("recorded", [False, True])
def test_memory_freed_while_another_stream_uses_it_is_corrupted_unless_recorded(
    fake: CDLL, recorded: bool
) -> None:
    side = torch.Stream(device="fake")
    x = filled(7)
    seen = torch.zeros(MIB, dtype=torch.uint8).pin_memory()
    fake.fake_stream_hold(side.native_handle)
    with side:
        seen.copy_(x, non_blocking=True)
    if recorded:
        x.record_stream(side)
    del x
    torch.accelerator.current_stream().synchronize()  # x's own stream has reached the free
    fake.fake_device_release()
    side.synchronize()
    assert seen.eq(7 if recorded else POISONED_BYTE).all()


def test_a_write_to_freed_memory_is_a_breach(fake: CDLL) -> None:
    side = torch.Stream(device="fake")
    x = filled(7)
    fake.fake_stream_hold(side.native_handle)
    with side:
        x.zero_()
    del x
    torch.accelerator.current_stream().synchronize()
    fake.fake_device_release()
    side.synchronize()
    (sentence,) = breaches_of(fake)
    assert sentence == f"Memory was written to after it had been freed: a block of {MIB} bytes, at byte 0."


def test_freed_memory_is_reused_in_its_own_streams_order(fake: CDLL) -> None:
    source = pinned(1, 2, 3)
    before = fake.fake_device_memory()
    fake.fake_device_hold()
    back = torch.zeros(3).pin_memory()
    on_device = source.to("fake", non_blocking=True)
    assert fake.fake_device_memory() == before + 512
    back.copy_(on_device, non_blocking=True)
    del on_device, source
    assert fake.fake_device_memory() == before  # counted immediately, as in torch
    fake.fake_device_release()
    torch.accelerator.current_stream().synchronize()
    assert back.tolist() == [1, 2, 3]


def test_pinned_memory_is_kept_until_its_copies_are_done(fake: CDLL) -> None:
    before = fake.fake_pinned_memory()
    source = torch.full((MIB,), 7, dtype=torch.uint8).pin_memory()
    assert source.is_pinned()
    assert source[5:].is_pinned()
    assert not torch.ones(3).is_pinned()
    assert fake.fake_pinned_memory() == before + MIB
    fake.fake_device_hold()
    copied = source.to("fake", non_blocking=True)
    del source
    assert fake.fake_pinned_memory() == before
    fake.fake_device_release()
    assert copied.cpu().eq(7).all()


def test_memory_runs_out(fake: CDLL) -> None:
    used = fake.fake_device_memory()
    fake.fake_device_reset_peak()
    fake.fake_device_limit(used + MIB)
    fits = torch.empty(MIB, dtype=torch.uint8, device="fake")
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 512 bytes"):
        torch.empty(1, device="fake")
    assert fake.fake_device_peak() == fake.fake_device_memory() == used + MIB
    del fits
    torch.empty(1, device="fake")


def test_a_broken_device_fails_every_call_until_it_is_repaired(
    fake: CDLL, threads: ThreadPoolExecutor
) -> None:
    x, stream, event = filled(7), torch.accelerator.current_stream(), torch.Event(device="fake")
    fake.fake_device_hold()
    x.fill_(8)
    waiting = threads.submit(stream.synchronize)
    fake.fake_device_break(b"an illegal memory access was encountered")
    for call in (waiting.result, stream.synchronize, stream.query, event.record, x.cpu, x.zero_):
        with pytest.raises(RuntimeError, match="an illegal memory access was encountered"):
            call()
    fake.fake_device_break(None)
    fake.fake_device_release()
    assert x.eq(8).all()  # the work that was already enqueued


def test_waiting_and_allocating_while_capturing_are_breaches(fake: CDLL) -> None:
    stream = torch.Stream(device="fake")
    x = filled(7)
    with stream:
        fake.fake_capture_begin(stream.native_handle)
        x.fill_(8)
        torch.empty(1, device="fake")
        for wait in (stream.synchronize, torch.accelerator.synchronize):
            with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
                wait()
        with pytest.raises(RuntimeError, match="queried while one was capturing"):
            stream.query()
        assert fake.fake_capture_end(stream.native_handle) == 1
        stream.synchronize()
    assert x.eq(8).all()
    assert breaches_of(fake) == [
        "While a stream was capturing, device memory was allocated.",
        "While a stream was capturing, a stream was synchronized.",
        "While a stream was capturing, a device was synchronized.",
    ]


def test_each_thread_has_its_own_current_stream(fake: CDLL, threads: ThreadPoolExecutor) -> None:
    default = torch.accelerator.current_stream()
    with torch.Stream(device="fake") as stream:
        assert torch.accelerator.current_stream() == stream
        assert threads.submit(torch.accelerator.current_stream).result() == default
    assert torch.accelerator.current_stream() == default
    assert default.native_handle in (None, 0)


def test_there_are_as_many_devices_as_a_test_sets(fake: CDLL) -> None:
    fake.fake_device_count_set(2)
    x = torch.arange(3.0).to("fake:0").to("fake:1")
    assert x.device == torch.device("fake:1")
    assert x.tolist() == [0, 1, 2]
    fake.fake_device_count_set(0)
    assert not torch.accelerator.is_available()
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.empty(1, device="fake:0")


EXITS = {
    "at rest": "",
    "with work held": "fake.fake_device_hold(); y = torch.zeros(9, device='fake')",
    "while it waits": (
        "fake.fake_device_hold(); y = torch.zeros(9, device='fake');"
        "threading.Thread(target=torch.accelerator.synchronize, daemon=True).start()"
    ),
}


@pytest.mark.parametrize("way", EXITS)
def test_a_process_that_used_it_exits_cleanly(way: str) -> None:
    program = f"""
import sys, threading, torch
sys.path.append({str(ROOT)!r})
from tests.fakes import device
fake = device.load()
x = torch.ones(1000).pin_memory().to("fake", non_blocking=True)
assert x.sum().item() == 1000
{EXITS[way]}
"""
    # Start it like this process, so that it finds the same build of the extension.
    flags = [flag for flag, is_set in (("-P", sys.flags.safe_path), ("-S", sys.flags.no_site)) if is_set]
    command = [sys.executable, *flags, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False)
    assert ended.returncode == 0, ended.stderr


def test_freed_host_memory_is_poisoned_and_late_writes_to_it_are_breaches(fake: CDLL) -> None:
    host = torch.ones(64, dtype=torch.uint8)
    late = ctypes.c_ubyte.from_address(host.data_ptr() + 7)
    del host
    assert late.value == POISONED_BYTE
    assert breaches_of(fake) == []
    late.value = 1
    assert breaches_of(fake) == [
        "Memory was written to after it had been freed: a block of 64 bytes, at byte 7."
    ]


def test_operators_that_ask_for_memory_without_a_tensor_get_it_and_return_it(fake: CDLL) -> None:
    """Convolutions do; they also free later what they took before the device was loaded."""
    x, weight = torch.ones(1, 3, 16, 16), torch.ones(8, 3, 3, 3)
    for _ in range(3):
        assert torch.nn.functional.conv2d(x, weight).eq(27).all()
