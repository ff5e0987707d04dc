"""Two networks that see an image in different ways, and the mean of their probabilities."""

import torch
from comparing import Pipeline, compare
from exporting import as_engine
from serving import Called, Server, chosen_server
from torch import Tensor, nn

CLASSES = 5


class Fine(nn.Module):
    """Map images [N, 3, 32, 32] to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Coarse(nn.Module):
    """Map grey images [N, 64], of 8x8 pixels, to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Ensemble(nn.Module):
    """Map images [N, 3, 32, 32] to the probabilities of the classes and how much the networks disagree."""

    def __init__(self, fine: nn.Module, coarse: nn.Module) -> None:
        super().__init__()
        self.fine = fine
        self.coarse = coarse

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        small = nn.functional.adaptive_avg_pool2d(images.mean(1), [8, 8]).flatten(1)
        first = torch.jit.fork(self.fine, images)  # on another thread, at the same time
        second = self.coarse(small).softmax(-1)
        fine = torch.jit.wait(first).softmax(-1)
        return (fine + second) / 2, (fine - second).abs().sum(-1)


def in_process(fine: nn.Module, coarse: nn.Module) -> Pipeline:
    engines = as_engine(fine, torch.rand(2, 3, 32, 32)), as_engine(coarse, torch.rand(2, 64))
    return torch.jit.script(Ensemble(*engines))


def on_server(fine: nn.Module, coarse: nn.Module, server: Server) -> Pipeline:
    server.engine(fine, torch.rand(2, 3, 32, 32), "ensemble-fine")
    server.engine(coarse, torch.rand(2, 64), "ensemble-coarse")
    return server.module(
        Ensemble(Called("ensemble-fine"), Called("ensemble-coarse")),
        "ensemble",
        inputs={"images": ("FP32", [-1, 3, 32, 32])},
        outputs={"probabilities": ("FP32", [-1, CLASSES]), "disagreement": ("FP32", [-1])},
        max_batch_size=16,  # the server may join requests
    )


def main() -> None:
    server = chosen_server(__doc__)
    torch.manual_seed(0)
    fine, coarse = Fine().eval(), Coarse().eval()
    pipeline = Ensemble(fine, coarse)
    compiled = in_process(fine, coarse) if server is None else on_server(fine, coarse, server)
    for batch in (1, 4, 9):
        probabilities, disagreement = compare(pipeline, compiled, torch.rand(batch, 3, 32, 32))
        print(
            f"batch of {batch}: classes {probabilities.argmax(-1).tolist()}, "
            f"disagreement {disagreement.mean():.3f}"
        )


if __name__ == "__main__":
    main()
