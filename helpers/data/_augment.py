"""Random changes to batches of training images."""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def flip_and_crop(
    images: Tensor, padding: int = 4, generator: torch.Generator | None = None
) -> Tensor:
    """Mirror half of the images, and move each by a few pixels.

    Each image is mirrored left to right with a chance of one half. Then a
    border of zeros is put around it (after normalization, zero is the average
    color), and a piece of the old size is cut out at a random place.

    Parameters
    ----------
    images : Tensor
        float of shape (batch, channels, height, width), on any device.
    padding : int
        How far an image may move, in pixels, in each direction.
    generator : torch.Generator, optional
        A source of random numbers on the CPU.

    Returns
    -------
    Tensor
        A new tensor of the same shape, dtype and device.
    """
    batch, _, height, width = images.shape
    flip = torch.rand(batch, generator=generator) < 0.5
    places = torch.randint(2 * padding + 1, (2, batch, 1), generator=generator)
    flip, places = flip.to(images.device), places.to(images.device)

    flipped = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
    padded = F.pad(flipped, (padding, padding, padding, padding))
    rows = places[0] + torch.arange(height, device=images.device)
    columns = places[1] + torch.arange(width, device=images.device)
    chosen = torch.arange(batch, device=images.device).view(-1, 1, 1)
    # Indexing puts the channels last: (batch, height, width, channels).
    cut = padded.permute(0, 2, 3, 1)[chosen, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


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
