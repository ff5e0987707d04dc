"""Train a LeNet on scikit-learn's handwritten digits and export it as ONNX.

The 1797 images come with scikit-learn, so nothing is downloaded. They have 8x8 pixels, not the 32x32 of
LeNet-5 (LeCun et al., 1998). The layers are those of LeNet-5, with kernels small enough for these images.
"""

import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

EPOCHS = 30
BATCH = 64
PIXEL_MAX = 16.0  # the data set's pixels are the integers 0..16


class LeNet(nn.Module):
    """Map images [N, 1, 8, 8] of pixels in 0..1 to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 6 x 4 x 4
            nn.Conv2d(6, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 16 x 2 x 2
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(64, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class Digits(NamedTuple):
    """Images [N, 1, 8, 8] float32 and their labels [N] int64, split for training and testing."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def digits() -> Digits:
    """Use three quarters to train and one quarter to test; the split never varies."""
    bunch = load_digits()
    images = torch.tensor(bunch.images / PIXEL_MAX, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    train, test = train_test_split(range(len(labels)), test_size=0.25, random_state=0, stratify=bunch.target)
    return Digits(images[train], labels[train], images[test], labels[test])


def train(data: Digits, seed: int = 0) -> LeNet:
    """Return a trained LeNet in eval mode; one seed always gives the same weights on one machine."""
    torch.set_num_threads(1)  # threads that wait for each other do not speed up such small tensors
    torch.manual_seed(seed)
    model = LeNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data.train_labels)).split(BATCH):
            loss = nn.functional.cross_entropy(model(data.train_images[batch]), data.train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def export(model: LeNet, path: Path) -> None:
    """Write one ONNX file with input x [batch, 1, 8, 8], output logits [batch, 10] and any batch size."""
    example = torch.zeros(2, 1, 8, 8)  # the exporter would treat a batch of 1 as a constant
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about every torchvision operator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about the exporter's own internals
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=True,
            external_data=False,  # one upload is one file
            input_names=["x"],
            output_names=["logits"],
            dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
