"""Models that find objects: boxes that overlap a better one are dropped, by a layer or by a plugin."""

import numpy as np
import torch

from tests.gpu.models.model import PLUGIN_DOMAIN, Model, Profile, Values, node, onnx_model, value_info


def suppressed(boxes: torch.Tensor, scores: torch.Tensor, most: int, iou: float, least: float) -> list[int]:
    """Return the best boxes of one class that do not overlap a better one, best first. Boxes are corners."""
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in torch.argsort(scores, descending=True).tolist():
        if len(kept) == most or scores[i] <= least:
            break
        low = torch.maximum(boxes[i, :2], boxes[kept, :2])
        high = torch.minimum(boxes[i, 2:], boxes[kept, 2:])
        overlap = (high - low).clamp(min=0).prod(1)
        if not bool((overlap / (area[i] + area[kept] - overlap) > iou).any()):
            kept.append(i)
    return kept


def some_boxes(count: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes (1, count, 4) as corners, and scores (1, count, classes), all different."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(1, count, 2, generator=generator) * 4
    size = torch.rand(1, count, 2, generator=generator) + 0.5
    scores = (torch.randperm(count * classes, generator=generator) + 0.5) / (count * classes)
    return torch.cat([corner, corner + size], 2), scores.reshape(1, count, classes)


def detections() -> Model:
    """Return class and number of the boxes that no better box of their class overlaps."""
    most, iou, least = 5, 0.3, 0.2
    model = onnx_model(
        "nms",
        [node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["selected"])],
        [value_info("boxes", torch.float32, [1, "n", 4]), value_info("scores", torch.float32, [1, 2, "n"])],
        [value_info("selected", torch.int64, ["k", 3])],
        {
            "most": np.array([most], np.int64),
            "iou": np.array([iou], np.float32),
            "least": np.array([least], np.float32),
        },
    )
    cases = []
    for count in (1, 40, 7, 64):
        boxes, scores = some_boxes(count, 2, seed=count)
        cases.append({"boxes": boxes, "scores": scores.transpose(1, 2).contiguous()})
    cases.append({"boxes": boxes, "scores": torch.zeros(1, 2, 64)})  # nothing is selected

    def expected(given: Values) -> Values:
        rows = [
            [0, kind, i]
            for kind in range(2)
            for i in suppressed(given["boxes"][0], given["scores"][0, kind], most, iou, least)
        ]
        return {"selected": torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)}

    profile: Profile = {
        "boxes": ((1, 1, 4), (1, 32, 4), (1, 64, 4)),
        "scores": ((1, 2, 1), (1, 2, 32), (1, 2, 64)),
    }
    return Model("nms", model, tuple(cases), expected, (profile,), in_any_order=True)


def detections_by_a_plugin() -> Model:
    """Return the detections of all classes that the plugin EfficientNMS_TRT finds, best first, and their
    number; it fills the rest with zeros."""
    most, iou, least = 20, 0.3, 0.2
    nms = node(
        "EfficientNMS_TRT",
        ["boxes", "scores"],
        ["count", "kept", "score", "kind"],
        domain=PLUGIN_DOMAIN,
        plugin_version="1",
        score_threshold=least,
        iou_threshold=iou,
        max_output_boxes=most,
        background_class=-1,
        score_activation=0,
        class_agnostic=0,
        box_coding=0,
    )
    model = onnx_model(
        "plugin",
        [nms],
        [value_info("boxes", torch.float32, [1, "n", 4]), value_info("scores", torch.float32, [1, "n", 2])],
        [
            value_info("count", torch.int32, [1, 1]),
            value_info("kept", torch.float32, [1, most, 4]),
            value_info("score", torch.float32, [1, most]),
            value_info("kind", torch.int32, [1, most]),
        ],
    )
    cases = [
        dict(zip(("boxes", "scores"), some_boxes(count, 2, seed=count), strict=True))
        for count in (1, 40, 7, 64, 40)
    ]

    def expected(given: Values) -> Values:
        boxes, scores = given["boxes"][0], given["scores"][0]
        found = [
            (float(scores[i, kind]), kind, i)
            for kind in range(2)
            for i in suppressed(boxes, scores[:, kind], most, iou, least)
        ]
        best = sorted(found, reverse=True)[:most]
        answer = {
            "count": torch.tensor([[len(best)]], dtype=torch.int32),
            "kept": torch.zeros(1, most, 4),
            "score": torch.zeros(1, most),
            "kind": torch.zeros(1, most, dtype=torch.int32),
        }
        for place, (score, kind, i) in enumerate(best):
            answer["kept"][0, place] = boxes[i]
            answer["score"][0, place] = score
            answer["kind"][0, place] = kind
        return answer

    profile: Profile = {
        "boxes": ((1, 1, 4), (1, 32, 4), (1, 64, 4)),
        "scores": ((1, 1, 2), (1, 32, 2), (1, 64, 2)),
    }
    return Model("plugin", model, tuple(cases), expected, (profile,), needs_plugins=True)


MODELS = (detections(), detections_by_a_plugin())
