"""Flipping and moving images, and loaders that do it anew each time."""

import torch
from torch.utils.data import TensorDataset

from helpers import data
from helpers.data import Augmented, flip_and_crop


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def all_versions(image, padding):
    """Every image that `flip_and_crop` may make of one, cut out one by one."""
    _, height, width = image.shape
    versions = []
    for flipped in (image, image.flip(2)):
        canvas = torch.zeros(
            len(image), height + 2 * padding, width + 2 * padding, dtype=image.dtype
        )
        canvas[:, padding : padding + height, padding : padding + width] = flipped
        versions += [
            canvas[:, top : top + height, left : left + width]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
        ]
    return versions


def test_every_version_comes_up_and_no_other():
    torch.manual_seed(0)
    image = torch.randn(3, 5, 7)
    versions = all_versions(image, padding=1)
    changed = flip_and_crop(image.expand(2_000, -1, -1, -1), 1, seeded())
    counts = [
        sum(torch.equal(one, version) for one in changed.unbind())
        for version in versions
    ]
    assert len(versions) == 2 * 3 * 3
    assert sum(counts) == 2_000
    assert min(counts) > 2_000 / 18 / 2


def test_images_of_a_batch_are_changed_independently():
    images = torch.arange(1.0, 9).view(8, 1, 1, 1).expand(-1, 3, 32, 32)
    changed = flip_and_crop(images, generator=seeded())
    assert changed.shape == images.shape
    for value, image in zip(range(1, 9), changed.unbind(), strict=True):
        assert set(image.unique().tolist()) <= {0.0, float(value)}
    empty = {tuple((image == 0).any(dim=0).nonzero().flatten()) for image in changed}
    assert len(empty) > 1


def test_no_padding_only_flips_and_leaves_the_input_alone():
    torch.manual_seed(0)
    images = torch.randn(64, 3, 4, 4)
    before = images.clone()
    changed = flip_and_crop(images, padding=0, generator=seeded())
    assert torch.equal(images, before)
    same = (changed == images).flatten(1).all(dim=1)
    mirrored = (changed == images.flip(3)).flatten(1).all(dim=1)
    assert (same | mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_a_seed_repeats_the_changes():
    images = torch.randn(16, 3, 8, 8)
    first = flip_and_crop(images, generator=seeded(3))
    assert torch.equal(first, flip_and_crop(images, generator=seeded(3)))
    assert not torch.equal(first, flip_and_crop(images, generator=seeded(4)))


def test_dtype_and_memory_format_do_not_matter():
    images = torch.randn(8, 3, 8, 8)
    expected = flip_and_crop(images, generator=seeded())
    channels_last = images.to(memory_format=torch.channels_last)
    assert torch.equal(flip_and_crop(channels_last, generator=seeded()), expected)
    half = flip_and_crop(images.bfloat16(), generator=seeded())
    assert torch.equal(half, expected.bfloat16())


def test_augmented_loader_changes_images_anew_and_keeps_labels():
    images = torch.randn(10, 3, 8, 8)
    dataset = TensorDataset(images, torch.arange(10))
    loader = Augmented(data.batches(dataset, 4))
    assert len(loader) == 3
    first, second = list(loader), list(loader)
    for (one, labels), (two, labels_again) in zip(first, second, strict=True):
        assert torch.equal(labels, labels_again)
        assert not torch.equal(one, two)
    assert torch.equal(torch.cat([labels for _, labels in first]), torch.arange(10))
    assert torch.equal(dataset.tensors[0], images), "the data stays as it was"


def test_augmented_takes_another_function():
    loader = Augmented([(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))], torch.neg)
    (images, labels), *rest = loader
    assert not rest
    assert (images == -1).all()
    assert labels.tolist() == [0, 1]
