"""Tests of the operator that decodes JPEG files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import runtime_ext
from tests.jpeg import NEEDS_JPEG

pytestmark = NEEDS_JPEG

PIXELS = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3) * 2654435761 >> 24


def jpeg(pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", **options)
    return file.getvalue()


def decode(file: bytes, channels: int = 3) -> torch.Tensor:
    return torch.ops.trt.decode_jpeg(torch.tensor(list(file), dtype=torch.uint8), channels)


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"progressive": True}, {"subsampling": 0}])
def test_a_file_is_decoded_as_pillow_decodes_it(options: dict[str, object]) -> None:
    file = jpeg(**options)
    found = decode(file)
    assert (found.dtype, found.shape) == (torch.uint8, (3, 48, 64))
    expected = np.asarray(Image.open(io.BytesIO(file))).astype(int)
    assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2


def test_colours_become_grey_and_grey_becomes_colours() -> None:
    grey = jpeg(PIXELS[..., 0])
    assert decode(grey, 1).shape == (1, 48, 64)
    assert torch.equal(decode(grey), decode(grey, 1).expand(3, -1, -1))
    assert decode(jpeg(), 1).shape == (1, 48, 64)


def test_a_scripted_module_decodes() -> None:
    def shape(file: torch.Tensor) -> list[int]:
        return torch.ops.trt.decode_jpeg(file).shape

    assert torch.jit.script(shape)(torch.frombuffer(bytearray(jpeg()), dtype=torch.uint8)) == [3, 48, 64]


def huge() -> bytes:
    """A file whose header tells of 65000 x 65000 pixels."""
    file = bytearray(jpeg())
    frame = file.index(b"\xff\xc0") + 5
    file[frame : frame + 4] = (65000).to_bytes(2, "big") * 2
    return bytes(file)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"", "there are none"),
        (b"GIF89a", "Not a JPEG file"),
        (jpeg()[:-400], "remature end"),
        (jpeg()[:30], "remature end|JPEG"),
        (huge(), "65000 x 65000 pixels; at most"),
    ],
)
def test_other_bytes_are_refused_with_the_reason(file: bytes, why: str) -> None:
    with pytest.raises(runtime_ext.Error, match=why):
        decode(file)


def with_marker(marker: int) -> bytes:
    """A file whose frame begins with another marker: of another process of JPEG."""
    return jpeg().replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


def with_precision(bits: int) -> bytes:
    file = bytearray(jpeg())
    file[file.index(b"\xff\xc0") + 4] = bits
    return bytes(file)


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (cmyk(), "Unsupported color conversion"),
        (with_precision(12), "Unsupported JPEG data precision 12"),
        (with_marker(0xC3), "SOF type 0xc3"),  # lossless
        (with_marker(0xC5), "SOF type 0xc5"),  # hierarchical
        (with_marker(0xC2), "Invalid progressive parameters"),
        (jpeg().replace((48).to_bytes(2, "big") + (64).to_bytes(2, "big"), b"\0\0\0\x40", 1), "Empty JPEG"),
    ],
)
def test_kinds_of_jpeg_that_are_not_decoded_are_refused(file: bytes, why: str) -> None:
    with pytest.raises(runtime_ext.Error, match=why) as refused:
        decode(file)
    assert refused.value.kind == "InvalidInput"


def with_scans(scans: int) -> bytes:
    """A progressive file with its last scan again and again, each of which is work over the whole picture."""
    file = jpeg(progressive=True)
    last = file.rindex(b"\xff\xda")
    return file[:last] + file[last:-2] * (scans - file.count(b"\xff\xda") + 1) + file[-2:]


def test_a_file_with_more_scans_than_any_encoder_writes_is_refused() -> None:
    assert decode(with_scans(100)).shape == (3, 48, 64)
    with pytest.raises(runtime_ext.Error, match="more than 100 scans"):
        decode(with_scans(101))


def test_what_is_no_part_of_the_picture_is_skipped() -> None:
    file = jpeg()
    exif = b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527)
    assert torch.equal(decode(file[:2] + exif * 20 + b"\xff\xfe\0\2" * 1000 + file[2:]), decode(file))
    assert torch.equal(decode(file + b"more"), decode(file))


def test_no_damaged_file_is_more_than_refused() -> None:
    whole = jpeg()
    numbers = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        file = bytearray(whole)
        for at in numbers.integers(0, len(file), 3):
            file[at] = numbers.integers(0, 256)
        try:
            assert decode(bytes(file)).dtype == torch.uint8
        except runtime_ext.Error:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("data", "channels", "why"),
    [
        (torch.zeros(4), 3, "takes a UINT8 tensor"),
        (torch.zeros(2, 2, dtype=torch.uint8), 3, "takes a UINT8 tensor"),
        (torch.zeros(4, dtype=torch.uint8), 2, "channels is 2; allowed are 1 and 3"),
    ],
)
def test_other_arguments_are_refused(data: torch.Tensor, channels: int, why: str) -> None:
    with pytest.raises(runtime_ext.Error, match=why):
        torch.ops.trt.decode_jpeg(data, channels)
