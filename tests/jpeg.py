"""Whether the runtime was built with libjpeg."""

import pytest
import torch

import runtime_ext


def _has_decoder() -> bool:
    try:
        torch.ops.trt.decode_jpeg(torch.zeros(1, dtype=torch.uint8))
    except runtime_ext.Error as failure:
        return failure.kind != "Unsupported"
    return True


NEEDS_JPEG = pytest.mark.skipif(not _has_decoder(), reason="the runtime was built without libjpeg")
