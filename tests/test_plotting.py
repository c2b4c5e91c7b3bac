"""Figures: what is drawn is what was given."""

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers import plotting


@pytest.fixture(autouse=True)
def own_style():
    mpl.use("svg")
    with plt.style.context("helpers.book"):
        yield
    plt.close("all")


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4)])
def test_gray_image(shape):
    image = torch.rand(shape)
    as_bytes = (image * 255).round().byte()
    assert np.allclose(
        drawn(plotting.show_image(as_bytes)), as_bytes.reshape(5, 4) / 255
    )
    assert drawn(plotting.show_image(image > 0.5)).max() == 1
    ax = plotting.show_image(image, title="seven")
    assert np.allclose(drawn(ax), image.reshape(5, 4))
    assert ax.images[0].get_clim() == (0, 1), "no stretching of the contrast"
    assert ax.get_title(loc="center") == "seven"


def test_color_image_has_its_channels_last():
    image = torch.rand(3, 5, 4)
    pixels = drawn(plotting.show_image(image))
    assert pixels.shape == (5, 4, 3)
    assert np.allclose(pixels[2, 1], image[:, 2, 1])


@pytest.mark.parametrize("shape", [(8, 1, 5, 4), (5, 4, 3)])
def test_batch_and_channels_last_are_no_image(shape):
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        plotting.show_image(torch.rand(shape))
    assert not plt.get_fignums()


def test_images_in_rows():
    images = torch.rand(7, 1, 5, 4)
    figure = plotting.show_images(images, titles=range(7), columns=3)
    axes = figure.axes
    assert len(axes) == 9
    assert [len(ax.images) for ax in axes] == [1] * 7 + [0, 0]
    assert [ax.get_title(loc="center") for ax in axes[:7]] == list("0123456")
    assert np.allclose(drawn(axes[4]), images[4, 0])


def test_titles_must_match_images():
    with pytest.raises(ValueError, match="2 images but 3 titles"):
        plotting.show_images(torch.rand(2, 1, 4, 4), titles="abc")
    with pytest.raises(ValueError, match="no images"):
        plotting.show_images([])


def test_history_is_drawn_against_examples():
    names = ("epoch", "examples", "train_loss", "train_accuracy")
    names += ("validation_loss", "validation_accuracy")
    epochs = [(0, 0, None, None, 2.3, 0.1), (1, 128, 1.7, 0.4, 1.2, 0.6)]
    history = {
        "steps": [{"examples": 64, "loss": 2.0}, {"examples": 128, "loss": 1.5}],
        "epochs": [dict(zip(names, row, strict=True)) for row in epochs],
    }
    early = {"examples": 64, "validation_loss": 1.6, "validation_accuracy": 0.3}
    loss_ax, accuracy_ax = plotting.plot_history(history, [early]).axes
    steps, validation = loss_ax.lines
    assert steps.get_xydata().tolist() == [[64, 2.0], [128, 1.5]]
    assert validation.get_xydata().tolist() == [[0, 2.3], [64, 1.6], [128, 1.2]]
    trained, validation = accuracy_ax.lines
    assert trained.get_xydata().tolist() == [[128, 0.4]]
    assert validation.get_xydata().tolist() == [[0, 0.1], [64, 0.3], [128, 0.6]]
    _, validation = plotting.plot_history(history).axes[1].lines
    assert validation.get_xydata().tolist() == [[0, 0.1], [128, 0.6]]


def test_confusion_matrix_shows_every_count():
    matrix = torch.tensor([[50, 2], [7, 41]])
    ax = plotting.plot_confusion_matrix(matrix, ["cat", "dog"])
    assert [text.get_text() for text in ax.texts] == ["50", "2", "7", "41"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["cat", "dog"]
    assert ax.get_ylabel() == "true"


def test_probabilities_are_bars():
    ax = plotting.plot_probabilities(torch.tensor([0.2, 0.8]), [3, 5])
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.2, 0.8])
