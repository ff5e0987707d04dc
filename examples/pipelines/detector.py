"""Find boxes in an image: a network, then non-maximum suppression, a loop that depends on data."""

import torch
from comparing import Pipeline, compare
from exporting import as_engine
from serving import CalledForTwo, Server, chosen_server
from torch import Tensor, nn


class Net(nn.Module):
    """Map images [N, 3, 64, 64] to boxes [N, 256, 4], as the two corners in pixels, and scores [N, 256]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(16, 5, 1)
        grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="xy"))
        self.register_buffer("centres", 4 * grid.flatten(1).t() + 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.head(self.body(x)).flatten(2).transpose(1, 2)
        half = 6 * found[..., 2:4].sigmoid() + 2
        centres = self.centres + 4 * found[..., :2].tanh()
        return torch.cat([centres - half, centres + half], -1), found[..., 4]


class Detector(nn.Module):
    """Map an image [3, 64, 64] to the boxes [K, 4] that no better one overlaps, and their scores [K]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def overlap(self, boxes: Tensor) -> Tensor:
        """The intersection of each two boxes, divided by their union."""
        least = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
        most = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        both = (most - least).clamp(min=0).prod(-1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        return both / (area[:, None] + area[None, :] - both)

    def suppress(self, boxes: Tensor) -> Tensor:
        """The indices of the boxes to keep; they are sorted by their scores."""
        overlap = self.overlap(boxes)
        kept: list[int] = []
        for index in range(boxes.shape[0]):
            if len(kept) == 0 or bool((overlap[index, torch.tensor(kept)] < 0.4).all()):
                kept.append(index)
        return torch.tensor(kept, dtype=torch.long)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = self.net(image.unsqueeze(0))
        boxes, scores = boxes[0], scores[0]
        likely = torch.nonzero(scores > scores.mean() + scores.std()).squeeze(1)
        likely = likely[scores[likely].argsort(descending=True)]
        likely = likely[self.suppress(boxes[likely])]
        return boxes[likely], scores[likely]


def in_process(net: nn.Module) -> Pipeline:
    return torch.jit.script(Detector(as_engine(net, torch.rand(2, 3, 64, 64))))


def on_server(net: nn.Module, server: Server) -> Pipeline:
    server.engine(net, torch.rand(2, 3, 64, 64), "detector-net")
    return server.module(
        Detector(CalledForTwo("detector-net")),
        "detector",
        inputs={"image": ("FP32", [3, 64, 64])},
        outputs={"boxes": ("FP32", [-1, 4]), "scores": ("FP32", [-1])},  # as many as there are
    )


def main() -> None:
    server = chosen_server(__doc__)
    torch.manual_seed(0)
    net = Net().eval()
    pipeline = Detector(net)
    compiled = in_process(net) if server is None else on_server(net, server)
    for number in range(3):
        boxes, scores = compare(pipeline, compiled, torch.rand(3, 64, 64))
        print(f"image {number}: {len(boxes)} boxes, the best at {boxes[0].tolist()} with {scores[0]:.3f}")


if __name__ == "__main__":
    main()
