"""Name what photographs show: the bytes of JPEG files go in, labels come out.

On a server, files and labels are tensors of the datatype BYTES: one string for each photograph, of any
length. Requests are joined, so the network runs once for the photographs of several clients. The network is
random, like those of the other examples, so its labels mean nothing.
"""

import io

import numpy as np
import torch
from classifier import LABELS, SIDE, Net
from comparing import Pipeline
from exporting import as_engine
from serving import Called, Server, chosen_server
from torch import Tensor, nn


class Photographs(nn.Module):
    """Map the bytes of JPEG files to a label each."""

    def __init__(self, net: nn.Module, labels: list[str]) -> None:
        super().__init__()
        self.net = net
        self.labels = labels
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def prepared(self, file: Tensor) -> Tensor:
        image = (torch.ops.trt.decode_jpeg(file).float() / 255 - self.mean) / self.deviation
        return nn.functional.interpolate(image.unsqueeze(0), size=[32, 32], mode="bilinear")

    def forward(self, files: list[Tensor]) -> list[str]:
        images = torch.cat([self.prepared(file) for file in files])
        classes: list[int] = self.net(images).argmax(1).tolist()
        return [self.labels[index] for index in classes]


def photograph(width: int, height: int) -> bytes:
    """Make a JPEG file with random colours."""
    from PIL import Image

    pixels = torch.randint(0, 256, (height, width, 3)).byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def in_process(net: nn.Module) -> Pipeline:
    scripted = torch.jit.script(Photographs(as_engine(net, torch.rand(2, 3, SIDE, SIDE)), LABELS))
    return lambda files: scripted([torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files])


def on_server(net: nn.Module, server: Server) -> Pipeline:
    from trtserve.client import Client

    server.engine(net, torch.rand(2, 3, SIDE, SIDE), "photographs-net")
    server.module(
        Photographs(Called("photographs-net"), LABELS),
        "photographs",
        inputs={"files": ("BYTES", [-1])},
        outputs={"labels": ("BYTES", [-1])},
        max_batch_size=8,
    )
    client = Client(str(server.client.base_url))

    def run(files: list[bytes]) -> list[str]:
        labels = client.infer("photographs", files=np.array(files, np.object_))["labels"]
        return [label.decode() for label in labels]

    return run


def main() -> None:
    server = chosen_server(__doc__)
    torch.manual_seed(0)
    net = Net().eval()
    pipeline = Photographs(net, LABELS)
    compiled = in_process(net) if server is None else on_server(net, server)
    for sizes in ([(40, 30)], [(17, 65), (320, 200)], [(32, 32), (64, 64), (500, 333)]):
        files = [photograph(*size) for size in sizes]
        with torch.inference_mode():
            expected = pipeline([torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files])
            labels = compiled(files)
        assert labels == expected, f"{labels} instead of {expected}"
        print(f"{len(files)} photographs: {', '.join(labels)}")


if __name__ == "__main__":
    main()
