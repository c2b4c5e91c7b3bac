"""Random changes to batches of training images."""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.data._loaders import unnormalize
from helpers.data._mnist import MNIST_MEAN, MNIST_STD


def flip_and_crop(images: Tensor, padding: int = 4) -> Tensor:
    """Mirror half of the images, and move each by a few pixels.

    Each image is mirrored left to right with a chance of one half. Then a
    border of zeros is put around it (after normalization, zero is the average
    color), and a piece of the old size is cut out at a random place.

    Parameters
    ----------
    images : Tensor
        float of shape (batch, channels, height, width), on any device. The random
        numbers come from the CPU's global generator.
    padding : int
        How far an image may move, in pixels, in each direction.

    Returns
    -------
    Tensor
        A new tensor of the same shape, dtype and device.
    """
    batch, _, height, width = images.shape
    flip = torch.rand(batch) < 0.5
    places = torch.randint(2 * padding + 1, (2, batch, 1))
    flip, places = flip.to(images.device), places.to(images.device)

    flipped = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
    padded = F.pad(flipped, (padding, padding, padding, padding))
    rows = places[0] + torch.arange(height, device=images.device)
    columns = places[1] + torch.arange(width, device=images.device)
    chosen = torch.arange(batch, device=images.device).view(-1, 1, 1)
    # Indexing puts the channels last: (batch, height, width, channels).
    cut = padded.permute(0, 2, 3, 1)[chosen, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def vary(images: Tensor) -> Tensor:
    """Change a batch of digits as other pens, hands and cameras might.

    Half of the digits begin with an upstroke. Each digit gets strokes of another
    width, is turned by up to 20 degrees, stretched and shifted, and blurred, by
    amounts of its own. Chapter 7 writes this function, and says why.

    Parameters
    ----------
    images : Tensor
        float of shape (batch, 1, height, width), normalized as MNIST is, on any
        device. The random numbers come from that device's global generator.

    Returns
    -------
    Tensor
        A new tensor of the same shape, normalized likewise.
    """
    pixels = unnormalize(images)
    pixels = blurred(turned(with_other_strokes(with_upstrokes(pixels))))
    return (pixels - MNIST_MEAN) / MNIST_STD


def one_of(versions: list[Tensor]) -> Tensor:
    """Return a batch that takes each digit from a random one of several versions."""
    stack = torch.stack(versions)  # (version, digit, channel, height, width)
    digits = torch.arange(stack.shape[1], device=stack.device)
    return stack[torch.randint_like(digits, len(versions)), digits]


def between(low: float, high: float, pixels: Tensor) -> Tensor:
    """Return a random number for each digit."""
    return torch.empty(len(pixels), device=pixels.device).uniform_(low, high)


def with_upstrokes(pixels: Tensor) -> Tensor:
    """Begin half of the digits with a stroke from the lower left to their top."""
    ends = [(0.5, 1.2), (3, 10), (0, 1)]
    angle, length, chance = (between(*e, pixels).view(-1, 1, 1) for e in ends)
    down, left = angle.sin(), angle.cos()
    side = pixels.shape[-1]
    place = (pixels > 0.5).flatten(1).int().argmax(dim=1).view(-1, 1, 1)  # first ink
    ruler = torch.arange(side, device=pixels.device)
    below, before = ruler[:, None] - place // side, place % side - ruler
    along = (below * down + before * left).clamp(min=0).minimum(length)
    far = torch.hypot(below - along * down, before - along * left)
    stroke = (1.7 - far).clamp(0, 1)[:, None]
    return torch.where(chance[..., None] < 0.5, pixels.maximum(stroke), pixels)


def with_other_strokes(pixels: Tensor) -> Tensor:
    """Make each digit's strokes a pixel thinner, or one or two thicker, or neither."""
    larger = F.pad(pixels, (0, 1, 0, 1))  # windows of 2 take one row and column off
    thinner = -F.max_pool2d(-larger, 2, stride=1)
    thicker = F.max_pool2d(larger, 2, stride=1)
    thick = F.max_pool2d(pixels, 3, stride=1, padding=1)
    return one_of([thinner, pixels, thicker, thick])


def turned(pixels: Tensor) -> Tensor:
    """Stretch, turn and shift each digit by amounts of its own."""
    turn = between(-0.35, 0.35, pixels)
    width, height = between(0.8, 1.1, pixels), between(0.8, 1.1, pixels)
    right, down = between(-0.1, 0.1, pixels), between(-0.1, 0.1, pixels)
    across = torch.stack([turn.cos() / width, -turn.sin() / width, right], dim=1)
    downward = torch.stack([turn.sin() / height, turn.cos() / height, down], dim=1)
    where = torch.stack([across, downward], dim=1)  # (digit, 2, 3)
    grid = F.affine_grid(where, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def blurred(pixels: Tensor) -> Tensor:
    """Blur each digit not at all, or up to three times; the brightest becomes 1."""
    versions = [pixels]
    for _ in range(3):
        versions.append(F.avg_pool2d(versions[-1], 3, stride=1, padding=1))
    chosen = one_of(versions)
    # A digit that has all but vanished stays faint.
    return chosen / chosen.amax(dim=(1, 2, 3), keepdim=True).clamp(min=0.1)


class Augmented:
    """A loader whose batches are changed anew each time they are fetched.

    Parameters
    ----------
    loader : iterable of (images, labels)
        It must have a length, as a ``DataLoader`` has.
    augment : callable
        Takes and returns images.
    """

    def __init__(
        self,
        loader: Iterable[tuple[Tensor, Tensor]],
        augment: Callable[[Tensor], Tensor] = flip_and_crop,
    ) -> None:
        self.loader = loader
        self.augment = augment

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]  # see the parameters

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.loader:
            yield self.augment(images), labels
