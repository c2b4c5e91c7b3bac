"""The networks: their shapes, sizes, and what the source tutorials state."""

import pytest
import torch
from torch import nn

from helpers.models import MODELS, ResidualBlock, ResidualNet, count_parameters
from helpers.recipe import DIGIT_MODELS, PHOTO_MODELS

# Counted by hand, layer by layer: weights + biases.
PARAMETERS = {
    "padded": 320 + 18_496 + 3_212_288 + 524_800 + 5_130,
    "dropout": 260 + 5_020 + 16_050 + 510,
    "wide-head": 260 + 1_820 + 1_000_500 + 5_010,
    "photo": 456 + 2_416 + 48_120 + 10_164 + 850,
    "small-padded": 160 + 4_640 + 803_328 + 65_664 + 1_290,
    "residual": 432
    + 32  # conv and norm
    + (4_608 + 64 + 2 * (9_216 + 64))  # stage 1
    + (18_432 + 128 + 2 * (36_864 + 128))  # stage 2
    + (73_728 + 256 + 2 * (147_456 + 256))  # stage 3
    + 1_290,
    "fast": 576 + 32 + 3_456 + 48 + 98_304 + 512 + 2_570,
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_parameters(name):
    """One score a class, no softmax; and what was counted by hand."""
    assert (name in DIGIT_MODELS) != (name in PHOTO_MODELS)
    model = MODELS[name]()
    for batch_size in (1, 5):
        shape = (3, 32, 32) if name in PHOTO_MODELS else (1, 28, 28)
        logits = model(torch.randn(batch_size, *shape))
        assert logits.shape == (batch_size, 10)
    assert not torch.allclose(logits.exp().sum(dim=1), torch.ones(5))
    assert count_parameters(model) == PARAMETERS[name]


def test_only_trainable_parameters_are_counted():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert count_parameters(model) == 12 + 4 + 8
    model[0].weight.requires_grad_(False)
    assert count_parameters(model) == 4 + 8


def test_dropout_acts_in_training_mode_only():
    model, images = MODELS["dropout"](), torch.randn(4, 1, 28, 28)
    model.train()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_residual_block_adds_to_what_came_in():
    block, x = ResidualBlock(8), torch.randn(4, 8, 6, 6)
    nn.init.zeros_(block.norm2.weight)  # now the change is zero
    assert torch.equal(block(x), x.relu())


def test_width_of_the_residual_net():
    model = ResidualNet(width=4)
    assert model.fc.in_features == 32
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
