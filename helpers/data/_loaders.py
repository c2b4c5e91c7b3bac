"""Splits, in-memory batches, and the loaders that the training chapters use."""

from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    random_split,
)

from helpers.data._mnist import MNIST_MEAN, MNIST_STD, mnist

SPLIT_SEED = 0
Example = TypeVar("Example")
TensorLoader: TypeAlias = DataLoader[tuple[Tensor, ...]]


class Loaders(NamedTuple):
    """Loaders over the three parts of a data set."""

    train: TensorLoader
    validation: TensorLoader
    test: TensorLoader


def split_train_validation(
    dataset: Dataset[Example], num_validation: int = 5_000, seed: int = SPLIT_SEED
) -> tuple[Subset[Example], Subset[Example]]:
    """Split a training set at random into a training and a validation part.

    Parameters
    ----------
    dataset : Dataset
        The training set, of length n.
    num_validation : int
        How many examples to hold back, 0 < `num_validation` < n.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    (Subset, Subset)
        Training part of length n - `num_validation`, and validation part.

    Raises
    ------
    ValueError
        If `num_validation` leaves one of the parts empty.
    """
    total = len(dataset)  # type: ignore[arg-type]  # one that is indexed has a length
    if not 0 < num_validation < total:
        raise ValueError(
            f"num_validation must be between 1 and {total - 1} for a data set of "
            f"{total} examples, not {num_validation}"
        )
    generator = torch.Generator().manual_seed(seed)
    train, validation = random_split(
        dataset, [total - num_validation, num_validation], generator=generator
    )
    return train, validation


def pixels_and_labels(dataset: Dataset[object]) -> tuple[Tensor, Tensor]:
    """Return all raw pixels and labels of a torchvision dataset.

    Returns
    -------
    (Tensor, Tensor)
        uint8 of shape (n, channels, height, width), int64 of shape (n,).
    """
    if isinstance(dataset, Subset):
        pixels, labels = pixels_and_labels(dataset.dataset)
        chosen = torch.as_tensor(dataset.indices)
        return pixels[chosen], labels[chosen]
    if not hasattr(dataset, "data") or not hasattr(dataset, "targets"):
        raise TypeError(
            f"expected a torchvision dataset with .data and .targets, or a Subset "
            f"of one, not {type(dataset).__name__}"
        )
    pixels = torch.as_tensor(dataset.data)
    # MNIST keeps (n, height, width); CIFAR-10 (n, height, width, channels).
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return pixels, torch.as_tensor(dataset.targets)


def mean_and_std(dataset: Dataset[object]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, pixels in [0, 1].

    Returns
    -------
    (Tensor, Tensor)
        float64, each of shape (channels,). The standard deviation is that of
        the population (divided by n).
    """
    pixels, _ = pixels_and_labels(dataset)
    # A pixel has one of 256 values: how often each occurs says it all, and
    # takes a small part of the memory that float copies of all pixels would.
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = [channel.flatten().bincount(minlength=256) for channel in pixels.unbind(1)]
    shares = torch.stack(counts).double() / counts[0].sum()
    mean = shares @ values
    return mean, (shares @ values**2 - mean**2).sqrt()


def to_tensors(
    dataset: Dataset[object],
    mean: float | tuple[float, ...] = MNIST_MEAN,
    std: float | tuple[float, ...] = MNIST_STD,
) -> TensorDataset:
    """Hold a whole data set in memory, normalized once.

    Gives the values of ``v2.ToImage()``, ``v2.ToDtype(torch.float32, scale=True)``
    and ``v2.Normalize(mean, std)``, to the bit, without doing that work again in
    every epoch. Any transform of `dataset` is ignored.

    Parameters
    ----------
    dataset : Dataset
        A torchvision dataset such as MNIST, or a Subset of one.
    mean, std : float or tuple of float
        One value, or one for each channel.

    Returns
    -------
    TensorDataset
        Images, float32 of shape (n, channels, height, width), and labels,
        int64 of shape (n,).
    """
    pixels, labels = pixels_and_labels(dataset)
    shift = torch.as_tensor(mean, dtype=torch.float32).view(-1, 1, 1)
    scale = torch.as_tensor(std, dtype=torch.float32).view(-1, 1, 1)
    # As v2 does: a division by 255 differs in the last bit for half of the values.
    images = pixels.float().mul_(1 / 255).sub_(shift).div_(scale)
    return TensorDataset(images.contiguous(), labels)


def unnormalize(
    images: Tensor,
    mean: float | tuple[float, ...] = MNIST_MEAN,
    std: float | tuple[float, ...] = MNIST_STD,
) -> Tensor:
    """Return normalized images to the range [0, 1], to be looked at.

    Parameters
    ----------
    images : Tensor
        float of shape (..., channels, height, width).
    mean, std : float or tuple of float
        What the images were normalized with: one value, or one for each channel.
    """
    shift = torch.as_tensor(mean, dtype=images.dtype, device=images.device)
    scale = torch.as_tensor(std, dtype=images.dtype, device=images.device)
    return images * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


def batches(
    dataset: TensorDataset,
    batch_size: int,
    shuffle: bool = False,
    generator: torch.Generator | None = None,
    sampler: Sampler[int] | None = None,
) -> TensorLoader:
    """Return a loader that cuts each batch from the tensors in one step.

    A plain ``DataLoader`` fetches examples one by one and stacks them. With the
    data in memory it is faster to index once with the whole list of indices:
    that is what a batch sampler with ``batch_size=None`` does. Given the same
    generator, both yield the same batches.

    Parameters
    ----------
    dataset : TensorDataset
        As returned by `to_tensors`.
    batch_size : int
        Examples per batch; the last batch may be smaller.
    shuffle : bool
        Draw a new order in each epoch.
    generator : torch.Generator, optional
        The source of that order.
    sampler : Sampler of int, optional
        What draws the indices, in place of `shuffle`: one process's share of them.
    """
    if sampler is None and shuffle:
        sampler = RandomSampler(dataset, generator=generator)
    elif sampler is None:
        sampler = SequentialSampler(dataset)
    return DataLoader(
        dataset,
        sampler=BatchSampler(sampler, batch_size, drop_last=False),
        batch_size=None,
        generator=generator,
    )


def mnist_loaders(
    batch_size: int = 64, seed: int = 0, eval_batch_size: int = 1_000
) -> Loaders:
    """Return in-memory loaders over MNIST: 55,000, 5,000 and 10,000 digits.

    Parameters
    ----------
    batch_size : int
        Examples per training batch.
    seed : int
        Fixes the order of the training digits. The split into training and
        validation digits is always the same.
    eval_batch_size : int
        Examples per validation or test batch.
    """
    train, validation = split_train_validation(mnist("train"))
    generator = torch.Generator().manual_seed(seed)
    return Loaders(
        batches(to_tensors(train), batch_size, shuffle=True, generator=generator),
        batches(to_tensors(validation), eval_batch_size),
        batches(to_tensors(mnist("test")), eval_batch_size),
    )
