"""Figures. The only module that knows matplotlib.

Each function draws and returns what it drew on; a chapter's cell ends with
``plt.show()``.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from torch import Tensor

from helpers.training import History

# From nothing to a translucent orange: it reads on light and on dark pages.
MISTAKES = LinearSegmentedColormap.from_list(
    "mistakes", [(0.84, 0.37, 0.0, 0.0), (0.84, 0.37, 0.0, 0.55)]
)


def use_book_style() -> None:
    """Give all figures of a notebook the book's look, as sharp vector graphics."""
    plt.style.use("helpers.book")
    if get_ipython() is not None:
        set_matplotlib_formats("svg")


def figure_to_svg(figure: Figure) -> str:
    """Return a figure as compact SVG, and close it, so that no cell shows it again.

    Every figure keeps the size it was made with: frames of one explorer must not
    jump.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(["Creator", "Date", "Format", "Type"])
    figure.savefig(file, format="svg", metadata=nothing)
    plt.close(figure)
    svg = file.getvalue()
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", " ", svg).replace("base64, ", "base64,")


@contextmanager
def closing_figures() -> Iterator[None]:
    """Close at the end the figures made meanwhile, so that no cell shows them."""
    before = set(plt.get_fignums())
    try:
        yield
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def show_image(image: Tensor, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw one image without axes.

    Parameters
    ----------
    image : Tensor
        (height, width), (1, height, width) or (3, height, width): in [0, 1], or
        uint8 in [0, 255].
    ax : Axes, optional
        Where to draw; a new figure otherwise.
    title : str
        Written above the image.

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if image.ndim != 2 and not (image.ndim == 3 and len(image) in (1, 3)):
        raise ValueError(
            f"expected one image of shape (channels, height, width), 1 or 3 channels, "
            f"not {tuple(image.shape)}"
        )
    ax = ax or plt.subplots(figsize=(2.2, 2.2))[1]
    pixels = image.detach().cpu()
    scale = 255 if pixels.dtype == torch.uint8 else 1
    pixels = (pixels.float() / scale).clamp(0, 1)
    if pixels.ndim == 3:
        # (channel, height, width) -> (height, width, channel) for matplotlib
        pixels = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
    ax.imshow(pixels.numpy(), vmin=0, vmax=1)
    ax.set_title(title, loc="center")
    ax.set_axis_off()
    return ax


def show_images(
    images: Sequence[Tensor] | Tensor,
    titles: Sequence[object] | None = None,
    columns: int = 6,
    title: str = "",
) -> Figure:
    """Draw several images in rows, each with its title.

    Parameters
    ----------
    images : Tensor or sequence of Tensor
        (n, channels, height, width), each as `show_image` takes it.
    titles : sequence, optional
        One title for each image; anything that prints.
    columns : int
        Images per row.
    title : str
        Written above all of them.

    Raises
    ------
    ValueError
        If there are no images, or not as many titles as images.
    """
    if len(images) == 0:
        raise ValueError("there are no images to show")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(images)} images but {len(titles)} titles")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    row_height = 1.15 if titles is None else 1.45
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(1.15 * columns, row_height * rows),
        squeeze=False,
    )
    for index, ax in enumerate(axes.flat):
        if index < len(images):
            show_image(images[index], ax, "" if titles is None else str(titles[index]))
        else:
            ax.set_axis_off()
    if title:
        figure.suptitle(title)
    return figure


def plot_history(history: History, early: Sequence[dict[str, Any]] = ()) -> Figure:
    """Draw loss and accuracy against the number of training examples seen.

    Parameters
    ----------
    history : dict
        From `helpers.training.fit`.
    early : sequence of dict
        More validation figures, measured inside the epochs: ``{"examples",
        "validation_loss", "validation_accuracy"}``.
    """
    figure, (loss_ax, accuracy_ax) = plt.subplots(2, 1, figsize=(5.6, 5.6), sharex=True)
    steps, epochs = history["steps"], history["epochs"]
    trained = [row for row in epochs if row["train_loss"] is not None]
    measured = sorted([*epochs, *early], key=lambda row: row["examples"])

    loss_ax.plot(
        [row["examples"] for row in steps],
        [row["loss"] for row in steps],
        linewidth=0.8,
        alpha=0.6,
        label="training, each batch",
    )
    _plot_column(loss_ax, measured, "validation_loss", "C1o:", "validation")
    loss_ax.set_ylabel("loss")
    loss_ax.set_ylim(bottom=0)

    _plot_column(accuracy_ax, trained, "train_accuracy", "C0s:", "training, mean")
    _plot_column(accuracy_ax, measured, "validation_accuracy", "C1o:", "validation")
    accuracy_ax.set_ylabel("accuracy")
    accuracy_ax.yaxis.set_major_formatter("{x:.0%}")
    accuracy_ax.set_xlabel("training examples seen")
    accuracy_ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:.0f}k" if x else "0")
    for ax in (loss_ax, accuracy_ax):
        ax.legend()
    return figure


def _plot_column(
    ax: Axes, rows: list[dict[str, Any]], column: str, style: str, label: str
) -> None:
    ax.plot(
        [row["examples"] for row in rows],
        [row[column] for row in rows],
        style,
        label=label,
    )


def plot_confusion_matrix(matrix: Tensor, names: Sequence[object]) -> Axes:
    """Draw how often each class was taken for each class, with the counts.

    Colors show the mistakes only: the diagonal, hundreds of times larger, would
    hide them.

    Parameters
    ----------
    matrix : Tensor
        int64 of shape (classes, classes), rows true, columns predicted.
    names : sequence
        The classes' names, in order.
    """
    counts, labels = matrix.cpu().numpy(), [str(name) for name in names]
    side = max(4.0, 0.52 * len(names))
    _, ax = plt.subplots(figsize=(side + 0.4, side))
    mistakes = np.ma.masked_array(counts, np.eye(len(names), dtype=bool))
    ax.imshow(mistakes, cmap=MISTAKES, vmin=0)
    for row, column in np.ndindex(*counts.shape):
        ax.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=9,
        )
    ax.set_xticks(range(len(names)), labels)
    ax.set_yticks(range(len(names)), labels)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.grid(False)
    return ax


def plot_probabilities(
    probabilities: Tensor, names: Sequence[object], ax: Axes | None = None
) -> Axes:
    """Draw one bar for each class.

    Parameters
    ----------
    probabilities : Tensor
        float of shape (classes,), summing to 1.
    names : sequence
        The classes' names, in order.
    """
    ax = ax or plt.subplots(figsize=(4, 2.2))[1]
    ax.bar([str(name) for name in names], probabilities.detach().cpu().numpy())
    ax.set_ylim(0, 1)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.grid(axis="x", visible=False)
    return ax
