"""Two recipes for MNIST: one is quick to 99 %, one is accurate after a minute.

Both take the digits as bytes, on the device that shall train: `pixels` is uint8 of
shape (n, 28, 28), `labels` int64 of shape (n,).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from helpers.data import MNIST_MEAN, MNIST_STD
from helpers.models import FastNet


def to_images(pixels: Tensor) -> Tensor:
    """Return values from 0 to 255 as normalized images, (batch, 1, 28, 28)."""
    return (pixels.unsqueeze(1).float() - 255 * MNIST_MEAN) / (255 * MNIST_STD)


def train_fast(
    pixels: Tensor, labels: Tensor, seed: int, num_seen: int = 40_000
) -> FastNet:
    """Train a `FastNet` on some of the digits, once through."""
    torch.manual_seed(seed)
    model = FastNet().to(pixels.device, memory_format=torch.channels_last)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = AdamW(model.parameters(), lr=0.03, betas=(0.8, 0.999), fused=True)
    order = torch.randperm(len(labels), device=labels.device)[:num_seen].split(192)
    schedule = OneCycleLR(
        optimizer, max_lr=0.03, total_steps=len(order), cycle_momentum=False
    )
    for chosen in order:
        logits = model(to_images(pixels[chosen]))  # 1. predict
        loss = loss_fn(logits, labels[chosen])  # 2. measure the error
        optimizer.zero_grad()  # 3. forget the old gradients
        loss.backward()  # 4. compute the new gradients
        optimizer.step()  # 5. adjust the parameters
        schedule.step()
    return model


class AccurateNet(FastNet):
    """`FastNet` with more channels, for the whole image."""

    inside = slice(0, 28)

    def __init__(self) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32 * 5 * 5, 256, bias=False)


def distort(pixels: Tensor) -> Tensor:
    """Turn, stretch, slant and move each digit a little, all in one step."""

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(pixels), device=pixels.device)

    turn, slant = between(-0.17, 0.17), between(-0.1, 0.1)  # up to 10 degrees
    # The grid says where to fetch from (chapter 7): 1.1 makes a digit smaller.
    across, along = between(0.9, 1.1), between(0.9, 1.1)
    left, up = between(-1 / 7, 1 / 7), between(-1 / 7, 1 / 7)  # up to 2 pixels
    to_x = torch.stack([across * turn.cos(), slant - across * turn.sin(), left], dim=1)
    to_y = torch.stack([along * turn.sin(), along * turn.cos(), up], dim=1)
    change = torch.stack([to_x, to_y], dim=1)  # (batch, 2, 3)
    images = pixels.unsqueeze(1).float()
    grid = F.affine_grid(change, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).squeeze(1)


def train_accurate(
    pixels: Tensor, labels: Tensor, seed: int, num_epochs: int = 12
) -> nn.Module:
    """Train an `AccurateNet` on distorted digits; return the mean of its weights."""
    torch.manual_seed(seed)
    model = AccurateNet().to(pixels.device, memory_format=torch.channels_last)
    average = AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = AdamW(model.parameters(), lr=0.03, betas=(0.8, 0.999), fused=True)
    steps = num_epochs * math.ceil(len(labels) / 256)
    schedule = OneCycleLR(
        optimizer, max_lr=0.03, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    for _ in range(num_epochs):
        for chosen in torch.randperm(len(labels), device=labels.device).split(256):
            logits = model(to_images(distort(pixels[chosen])))
            loss = loss_fn(logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
    return average
