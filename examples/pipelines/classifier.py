"""Classify an image file: its bytes go in, the best classes and their probabilities come out.

On a server, the file is a tensor of the datatype UINT8, and its size is the file's. torch has no operator
that decodes JPEG or PNG, so the pipeline reads BMP; a client with other files converts them, with Pillow for
example: Image.open(path).convert("RGB").save(buffer, "BMP"). The labels belong to the client: the module
returns the numbers of the classes.
"""

import struct

import torch
from comparing import Pipeline, compare
from exporting import as_engine
from serving import Called, Server, chosen_server
from torch import Tensor, nn

LABELS = ["cat", "dog", "bird", "fish", "horse", "frog", "ship", "truck"]
SIDE = 32  # pixels of the network's input


class Net(nn.Module):
    """Map images [N, 3, 32, 32] to logits [N, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, len(LABELS)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Classifier(nn.Module):
    """Map the bytes of a BMP file with 24 bits per pixel to the three best classes and their
    probabilities."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def number(self, file: Tensor, offset: int) -> int:
        """Read a little-endian number of four bytes."""
        number = 0
        for index in range(4):
            number += int(file[offset + index].item()) << (8 * index)
        return number

    def decode(self, file: Tensor) -> Tensor:
        """Return the pixels as [3, height, width]: red, green and blue from 0 to 1."""
        begin, width, height = self.number(file, 10), self.number(file, 18), self.number(file, 22)
        row = (3 * width + 3) // 4 * 4  # rows have a multiple of four bytes, and come from the lowest
        rows = file[begin : begin + row * height].reshape(height, row)
        pixels = rows[:, : 3 * width].reshape(height, width, 3)
        return pixels.flip([0, 2]).permute(2, 0, 1).float() / 255

    def forward(self, file: Tensor) -> tuple[Tensor, Tensor]:
        image = (self.decode(file) - self.mean) / self.deviation
        image = nn.functional.interpolate(image.unsqueeze(0), size=[32, 32], mode="bilinear")
        best, classes = self.net(image).softmax(-1).topk(3)
        return best[0], classes[0]


def bitmap(width: int, height: int) -> Tensor:
    """Make the bytes of a BMP file with random pixels."""
    row = (3 * width + 3) // 4 * 4
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54 + row * height, 0, 0, 54, 40, width, height, 1, 24, *(0,) * 6
    )
    return torch.cat(
        [torch.tensor(list(header), dtype=torch.uint8), torch.randint(0, 256, (row * height,)).byte()]
    )


def in_process(net: nn.Module) -> Pipeline:
    return torch.jit.script(Classifier(as_engine(net, torch.rand(2, 3, SIDE, SIDE))))


def on_server(net: nn.Module, server: Server) -> Pipeline:
    server.engine(net, torch.rand(2, 3, SIDE, SIDE), "classifier-net")
    return server.module(
        Classifier(Called("classifier-net")),
        "classifier",
        inputs={"file": ("UINT8", [-1])},
        outputs={"probabilities": ("FP32", [3]), "classes": ("INT64", [3])},
    )


def main() -> None:
    server = chosen_server(__doc__)
    torch.manual_seed(0)
    net = Net().eval()
    pipeline = Classifier(net)
    compiled = in_process(net) if server is None else on_server(net, server)
    for width, height in ((40, 30), (17, 65), (32, 32)):
        best, classes = compare(pipeline, compiled, bitmap(width, height))
        found = ", ".join(
            f"{LABELS[index]} {chance:.1%}" for index, chance in zip(classes, best, strict=True)
        )
        print(f"{width}x{height}: {found}")


if __name__ == "__main__":
    main()
