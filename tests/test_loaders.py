"""Splits and batches, compared with PyTorch's and torchvision's own."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler
from torchvision.transforms import v2

from helpers import data


@pytest.fixture(scope="module")
def plain():
    """MNIST's test digits as chapter 3 first loads them."""
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    steps += [v2.Normalize((data.MNIST_MEAN,), (data.MNIST_STD,))]
    return data.mnist("test", v2.Compose(steps))


@pytest.fixture(scope="module")
def in_memory(plain):
    return data.to_tensors(plain)


def test_to_tensors_equals_the_transforms_to_the_bit(plain, in_memory):
    for index in range(0, 10_000, 97):
        expected_image, expected_label = plain[index]
        image, label = in_memory[index]
        assert torch.equal(image, expected_image)
        assert label == expected_label
    images, labels = in_memory.tensors
    assert (images.shape, images.dtype) == ((10_000, 1, 28, 28), torch.float32)
    assert (labels.shape, labels.dtype) == ((10_000,), torch.int64)


@pytest.mark.parametrize(("batch_size", "shuffle"), [(64, True), (333, False)])
def test_both_loaders_yield_the_same_batches(plain, batch_size, shuffle):
    """Each epoch in a new order, with what is left as the last batch."""

    def seeded():
        return torch.Generator().manual_seed(7)

    few = Subset(plain, range(1_000))
    slow = DataLoader(few, batch_size, shuffle=shuffle, generator=seeded())
    fast = data.batches(data.to_tensors(few), batch_size, shuffle, seeded())
    assert len(slow) == len(fast)
    for _epoch in range(2):
        pairs = zip(slow, fast, strict=True)
        for (images, labels), (fast_images, fast_labels) in pairs:
            assert torch.equal(images, fast_images)
            assert torch.equal(labels, fast_labels)


def test_a_sampler_draws_the_indices(in_memory):
    sampler = SubsetRandomSampler([3, 1, 4, 15], torch.Generator().manual_seed(0))
    (_, first), (_, second) = data.batches(in_memory, 3, shuffle=True, sampler=sampler)
    labels = in_memory.tensors[1][[3, 1, 4, 15]]
    assert sorted([*first, *second]) == sorted(labels)
    assert len(second) == 1


def test_split_is_seeded_and_leaves_nothing_out():
    dataset = data.mnist("train")
    train, validation = data.split_train_validation(dataset)
    assert (len(train), len(validation)) == (55_000, 5_000)
    assert sorted(train.indices + validation.indices) == list(range(60_000))
    again, _ = data.split_train_validation(dataset)
    assert train.indices == again.indices
    other, _ = data.split_train_validation(dataset, seed=1)
    assert train.indices != other.indices


@pytest.mark.parametrize("size", [0, 10_000])
def test_impossible_split_is_refused(plain, size):
    with pytest.raises(ValueError, match="between 1 and 9999"):
        data.split_train_validation(plain, size)


def test_subset_of_subset(plain):
    outer = Subset(Subset(plain, [5, 3, 8, 1]), [2, 0])
    images, labels = data.to_tensors(outer).tensors
    assert labels.tolist() == [plain[8][1], plain[5][1]]
    assert torch.equal(images[1], plain[5][0])
    with pytest.raises(TypeError, match="list"):  # it has to be torchvision's
        data.to_tensors([1, 2, 3])


def test_mean_and_std_are_the_books_constants():
    mean, std = data.mean_and_std(data.mnist("train"))
    assert mean.shape == std.shape == (1,)
    assert round(mean.item(), 4) == data.MNIST_MEAN
    assert round(std.item(), 4) == data.MNIST_STD


def test_mean_and_std_of_each_channel_as_torch_computes_them():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 8, 8, 3), generator=generator)
    dataset = SimpleNamespace(data=pixels.byte().numpy(), targets=[0] * 50)
    mean, std = data.mean_and_std(dataset)
    scaled = pixels.double() / 255
    torch.testing.assert_close(mean, scaled.mean(dim=(0, 1, 2)))
    torch.testing.assert_close(std, scaled.std(dim=(0, 1, 2), correction=0))


def test_unnormalize_undoes_normalize():
    images = torch.rand(2, 3, 4, 5)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    normalized = v2.functional.normalize(images, mean, std)
    torch.testing.assert_close(data.unnormalize(normalized, mean, std), images)
    gray = v2.functional.normalize(images[:, :1], [0.1307], [0.3081])
    torch.testing.assert_close(data.unnormalize(gray), images[:, :1])


def test_mnist_loaders_keep_the_three_parts_apart():
    loaders = data.mnist_loaders(batch_size=128, seed=3)
    assert [len(part.dataset) for part in loaders] == [55_000, 5_000, 10_000]
    assert len(loaders.train) == 430
    again = data.mnist_loaders(batch_size=128, seed=3)
    assert torch.equal(next(iter(loaders.train))[1], next(iter(again.train))[1])
    other = data.mnist_loaders(batch_size=128, seed=4)
    assert not torch.equal(next(iter(loaders.train))[1], next(iter(other.train))[1])
    assert torch.equal(
        next(iter(loaders.validation))[1], next(iter(other.validation))[1]
    )
