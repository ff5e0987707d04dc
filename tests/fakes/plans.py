"""Makes small plans that pass for real ones; the fake runtime serves them."""

import json
import struct


def _field(number: int, payload: bytes) -> bytes:
    """Encode one length-delimited protobuf field."""
    length = bytearray()
    left = len(payload)
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([number << 3 | 2, *length, left]) + payload


def onnx_plan(seed: object = 0, padding: int = 0) -> bytes:
    """Make the first fields of an ONNX ModelProto (ir_version, producer_name, graph), different for each
    seed."""
    graph = _field(2, b"toy")
    return b"\x08\x0a" + _field(2, f"toy-{seed}".encode()) + _field(7, graph) + b"\x00" * padding


def module_plan(*calls: str | int) -> bytes:
    """Make the head of a TorchScript archive that calls these engines; see module_calls()."""
    name = b"m/data/0"
    header = b"PK\3\4" + bytes(22) + struct.pack("<HH", len(name), 0) + name
    return header + json.dumps(calls).encode()


def module_calls(plan: bytes) -> list[str | int]:
    """The engines that a module_plan() calls: by name, or by ID."""
    calls: list[str | int] = json.loads(plan[plan.index(b"[") :])
    return calls


def tensorrt_plan(version: tuple[int, int, int, int] = (10, 13, 2, 6)) -> bytes:
    """Make the header of a TensorRT plan; bytes 24 to 27 are the version that built it."""
    return b"ftrt" + bytes(20) + bytes(version) + bytes(100)


def old_tensorrt_plan(version: tuple[int, int, int, int] = (8, 5, 3, 1), serialization: int = 232) -> bytes:
    """Make the head of a plan of TensorRT 8.5 or before, with a tag before each number of its version.

    The version of the serialization is 232 in plans of 8.5.
    """
    body = b"".join(b"\2\x80\1\0" + bytes([number]) for number in version) + bytes(100)
    return b"ptrt" + struct.pack("<IIIQ", 0, serialization, 0, len(body)) + body


def rtx_plan(version: tuple[int, int, int, int], capabilities: int) -> bytes:
    """Make the head of a plan of TensorRT for RTX, with these bits for compute capabilities."""
    return b"vtrt" + bytes(20) + bytes(version) + b"vtrt" + struct.pack("<Q", capabilities) + bytes(100)


def wrapped(plan: bytes) -> bytes:
    """Put a length-prefixed JSON object before a plan, as Ultralytics writes it."""
    metadata = json.dumps({"description": "Ultralytics YOLO11n model", "stride": 32}).encode()
    return len(metadata).to_bytes(4, "little") + metadata + plan


def ultralytics_plan() -> bytes:
    """Make a TensorRT plan as Ultralytics writes it."""
    return wrapped(tensorrt_plan())


def padding(size: int) -> bytes:
    """A field to append to an ONNX model: `size` bytes of metadata_props."""
    length = bytearray()
    rest = size
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([14 << 3 | 2, *length, rest]) + bytes(size)
