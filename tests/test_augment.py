"""Random changes to images, and loaders that make them anew each time."""

import pytest
import torch
from torch.utils.data import TensorDataset

from helpers import data
from helpers.data import Augmented, _augment, flip_and_crop, vary


def changed_by(seed, images, padding=4):
    torch.manual_seed(seed)
    return flip_and_crop(images, padding)


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
    changed = changed_by(0, image.expand(2_000, -1, -1, -1), padding=1)
    counts = [
        sum(torch.equal(one, version) for one in changed.unbind())
        for version in versions
    ]
    assert len(versions) == 2 * 3 * 3
    assert sum(counts) == 2_000
    assert min(counts) > 2_000 / 18 / 2


def test_a_seed_repeats_the_changes_and_the_input_stays():
    images = torch.randn(16, 3, 8, 8)
    before = images.clone()
    first = changed_by(3, images)
    assert torch.equal(images, before)
    assert torch.equal(first, changed_by(3, images))
    assert not torch.equal(first, changed_by(4, images))
    channels_last = images.to(memory_format=torch.channels_last)
    assert torch.equal(first, changed_by(3, channels_last))
    assert torch.equal(first.bfloat16(), changed_by(3, images.bfloat16()))


@pytest.fixture(scope="module")
def digits():
    """Return 600 normalized digits."""
    return data.to_tensors(data.mnist("test")).tensors[0][:600]


def center(pixels):
    """Return (right, down) of each digit's center of mass, from the middle."""
    places = torch.arange(28) - 13.5
    mass = pixels.sum(dim=(1, 2, 3))
    return torch.stack(
        [(pixels.sum(dim=(1, axis)) * places).sum(dim=1) / mass for axis in (2, 3)], 1
    )


def test_varied_digits_are_digits_still(digits):
    torch.manual_seed(0)
    before = digits.clone()
    varied = vary(digits)
    assert torch.equal(digits, before)
    assert (varied.shape, varied.dtype) == (digits.shape, digits.dtype)
    pixels = data.unnormalize(varied)
    assert pixels.min() > -1e-5
    assert pixels.amax(dim=(1, 2, 3)).sub(1).abs().max() < 1e-5
    corners = pixels[:, 0, :2, :2].flatten(1).amax(dim=1)  # paper comes in, not gray
    assert (corners < 0.01).float().mean() > 0.99


def test_each_digit_is_varied_in_its_own_way(digits):
    torch.manual_seed(0)
    first, again = vary(digits[:1].expand(300, -1, -1, -1)), vary(digits[:1])
    assert len(first.flatten(1).unique(dim=0)) == 300
    assert not torch.equal(first[:1], again)
    torch.manual_seed(0)
    assert torch.equal(vary(digits[:1].expand(300, -1, -1, -1)), first)


def test_strokes_are_thinner_as_they_are_and_thicker(digits):
    torch.manual_seed(0)
    pixels = data.unnormalize(digits[:1]).expand(400, -1, -1, -1)
    ink = _augment.with_other_strokes(pixels).sum(dim=(1, 2, 3))
    amounts, counts = ink.unique(return_counts=True)
    assert len(amounts) == 4
    assert counts.min() > 60
    assert (amounts - pixels[0].sum()).abs().min() < 1e-3
    assert amounts[0] < 0.7 * pixels[0].sum() < 1.5 * pixels[0].sum() < amounts[-1]


def test_half_of_the_digits_begin_with_an_upstroke():
    torch.manual_seed(0)
    bar = torch.zeros(400, 1, 28, 28)
    bar[:, :, 4:24, 13:15] = 1
    added = (_augment.with_upstrokes(bar) - bar)[:, 0]
    assert added.min() == 0
    changed = added.amax(dim=(1, 2)) > 0
    assert 160 < changed.sum() < 240
    new = added[changed] > 0.5
    assert not new[:, :, 16:].any(), "what is new begins on the left"
    assert not new[:, 15:].any(), "and rises to the top by ten pixels at most"
    reach = new.any(dim=1).int().argmax(dim=1)  # the column where it begins
    assert reach.min() < 6 < 9 < reach.max()


def test_turning_moves_ink_and_keeps_the_amount(digits):
    torch.manual_seed(0)
    pixels = data.unnormalize(digits)
    turned = _augment.turned(pixels)
    moved = (center(turned) - center(pixels)).abs()
    assert 0.3 < moved.mean() < 2
    assert moved.max() < 4
    # Sides are stretched by 0.8 to 1.1, so the amount of ink by their product.
    ratio = turned.sum(dim=(1, 2, 3)) / pixels.sum(dim=(1, 2, 3))
    assert 0.55 < ratio.min() < 0.75 < 1.05 < ratio.max() < 1.25


def test_a_turn_keeps_the_proportions_of_the_field():
    """A long bar, turned, is as long as before times its own stretching at most."""
    torch.manual_seed(0)
    bar = torch.zeros(300, 1, 28, 28)
    bar[:, :, 4:24, 13:15] = 1
    angles = []
    for one in _augment.turned(bar)[:, 0]:
        down, right = (one > 0.5).nonzero().T.float()
        angles.append(
            torch.atan(
                (right - right.mean())
                @ (down - down.mean())
                / (down - down.mean()).square().sum()
            )
        )
    angles = torch.stack(angles).rad2deg()
    assert angles.abs().max() < 33  # a turn of 20 degrees, and unequal stretching
    assert angles.min() < -14
    assert angles.max() > 14


def test_blurred_digits_differ_in_sharpness_only(digits):
    torch.manual_seed(0)
    pixels = data.unnormalize(digits[:1]).expand(400, -1, -1, -1)
    versions, counts = _augment.blurred(pixels).unique(dim=0, return_counts=True)
    assert len(versions) == 4
    assert counts.min() > 60
    steps = versions.diff(dim=3).abs().amax(dim=(1, 2, 3)).sort().values
    assert steps[-1] > 2 * steps[0]
    assert (center(versions) - center(pixels[:4])).abs().max() < 0.2


def test_a_faint_digit_stays_finite():
    paper = torch.full((8, 1, 28, 28), -data.MNIST_MEAN / data.MNIST_STD)
    assert vary(paper).isfinite().all()


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
