"""Datasets, splits and loaders.

MNIST ships with this package, so nothing here needs a network for it.
"""

from helpers.data._augment import Augmented, flip_and_crop, vary
from helpers.data._cache import DataError, cache_folder
from helpers.data._cifar10 import CIFAR10_MEAN, CIFAR10_STD, Photographs, cifar10
from helpers.data._digit import digit_from_file, prepare_digit
from helpers.data._loaders import (
    Loaders,
    batches,
    mean_and_std,
    mnist_loaders,
    split_train_validation,
    to_tensors,
    unnormalize,
)
from helpers.data._mnist import MNIST_MEAN, MNIST_STD, mnist
from helpers.data._photographs import eight_photographs

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "MNIST_MEAN",
    "MNIST_STD",
    "Augmented",
    "DataError",
    "Loaders",
    "Photographs",
    "batches",
    "cache_folder",
    "cifar10",
    "digit_from_file",
    "eight_photographs",
    "flip_and_crop",
    "mean_and_std",
    "mnist",
    "mnist_loaders",
    "prepare_digit",
    "split_train_validation",
    "to_tensors",
    "unnormalize",
    "vary",
]
