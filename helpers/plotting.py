"""Figures. The only module that knows matplotlib.

Each function draws and returns what it drew on; a chapter's cell ends with
``plt.show()``.
"""

import copy
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
        (height, width), (1, height, width) or (3, height, width), in [0, 1].
    ax : Axes, optional
        Where to draw; a new figure otherwise.
    title : str
        Written above the image.
    """
    ax = ax or plt.subplots(figsize=(2.2, 2.2))[1]
    pixels = image.detach().cpu().float().clamp(0, 1)
    if pixels.ndim == 3:
        # (channel, height, width) -> (height, width, channel) for matplotlib
        pixels = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
    if pixels.ndim not in (2, 3):
        raise ValueError(
            f"expected one image of shape (channels, height, width), "
            f"not {tuple(image.shape)}"
        )
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
        (n, channels, height, width), in [0, 1].
    titles : sequence, optional
        One title an image; anything that prints.
    columns : int
        Images a row.
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


def plot_history(
    history: History, early: Sequence[dict[str, Any]] = (), title: str = ""
) -> Figure:
    """Draw loss and accuracy against the number of training examples seen.

    Parameters
    ----------
    history : dict
        From `helpers.training.fit`.
    early : sequence of dict
        More validation figures, measured inside the epochs: ``{"examples",
        "validation_loss", "validation_accuracy"}``.
    title : str
        Written above both.
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
    if title:
        figure.suptitle(title)
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
    counts, labels = matrix.numpy(), [str(name) for name in names]
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
    """Draw one bar a class.

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


# Networks -----------------------------------------------------------------------

# How the drawing calls what a network does; the names of functions and layers.
OPERATIONS = {
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "adaptive_avg_pool2d": "pool",
    "relu": "ReLU",
    "add": "sum",
    "__getitem__": "cut",
    "Conv2d": "conv",
    "Linear": "linear",
    "BatchNorm2d": "norm",
    "MaxPool2d": "pool",
    "AvgPool2d": "pool",
    "Dropout": "dropout",
    "Dropout2d": "dropout",
    "Flatten": "flatten",
    "ResidualBlock": "block",
}
POINTS_WIDE = 490  # a figure as wide as the page, in points
ARROW = 36
PIXEL = 1.05  # points a pixel of a feature map


class Step(NamedTuple):
    """What leads from one box of a drawn network to the next."""

    name: str  # the layer's own name, or the operation
    details: list[str]  # its kernel, and what follows without changing the shape
    shape: tuple[int, ...]  # of one example afterwards


def network_steps(model: nn.Module, input_shape: Sequence[int]) -> list[Step]:
    """Run a network once and note what changes the shape or has weights.

    The network itself stays as it is. Layers are noted by hooks, functions such
    as ``F.max_pool2d`` by watching the calls. A block (a module of modules that
    is no ``nn.Sequential``) counts as one layer.

    Parameters
    ----------
    model : nn.Module
        Takes a batch of images.
    input_shape : sequence of int
        (channels, height, width) of one image.

    Raises
    ------
    ValueError
        If `input_shape` does not have three numbers.
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"input_shape is (channels, height, width) of one image, "
            f"not {tuple(input_shape)}"
        )
    model = copy.deepcopy(model).eval()
    steps = [Step("", [], tuple(input_shape))]
    depth = 0  # of the layers that are running

    def note(name: str, detail: str, output: object, weights: bool) -> None:
        if not isinstance(output, Tensor) or output.ndim < 2:
            return
        shape = tuple(output.shape[1:])
        if weights or shape != steps[-1].shape:
            steps.append(Step(name, [detail] if detail else [], shape))
        elif name not in steps[-1].details:
            steps[-1].details.append(name)

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Callable[..., object],
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            output = function(*args, **(kwargs or {}))
            name = getattr(function, "__name__", "")
            if depth == 0 and name != "__get__":  # not an attribute such as .shape
                note(OPERATIONS.get(name, name), "", output, weights=False)
            return output

    def enter(layer: nn.Module, inputs: object) -> None:
        nonlocal depth
        depth += 1

    def leave(layer: nn.Module, inputs: object, output: object) -> None:
        nonlocal depth
        depth -= 1
        if depth > 0:
            return
        kind = type(layer).__name__
        operation = OPERATIONS.get(kind, kind)
        weights = operation != "norm" and any(True for _ in layer.parameters())
        own_name = names[layer].rpartition(".")[2]
        name = own_name if weights and not own_name.isdigit() else operation
        note(name, _kernel(layer), output, weights)

    names = {layer: name for name, layer in model.named_modules() if name}
    for layer in names:
        if not isinstance(layer, nn.Sequential):
            layer.register_forward_pre_hook(enter)
            layer.register_forward_hook(leave)
    device = next((p.device for p in model.parameters()), None)
    image = torch.zeros(1, *input_shape, device=device)
    with torch.no_grad(), Watch():
        model(image)
    return steps


def _kernel(layer: nn.Module) -> str:
    """Return what a convolution's window is like, in one or two lines."""
    if not isinstance(layer, nn.Conv2d):
        return ""
    height, width = layer.kernel_size
    stride = f"\nstride {layer.stride[0]}" if layer.stride[0] > 1 else ""
    return f"{height}×{width}{stride}"


def plot_network(
    model: nn.Module,
    input_shape: Sequence[int],
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw a network as the boxes of numbers that it makes of one image.

    A stack of feature maps is as wide and high as its maps, and the deeper the
    more channels it has (by the logarithm). A column's height follows the square
    root of how many numbers it holds. Arrows carry the layers' names; ReLU,
    dropout and normalization, which keep the shape, stand below them.

    Parameters
    ----------
    model : nn.Module
        A network without branches outside of its blocks; it stays as it is.
    input_shape : sequence of int
        (channels, height, width) of one image, such as (1, 28, 28).
    ax : Axes, optional
        Where to draw, best 6.8 inches wide; a new figure otherwise.
    title : str
        Written above the drawing.

    Raises
    ------
    ValueError
        If `input_shape` does not have three numbers.
    """
    steps = network_steps(model, input_shape)
    boxes = [_box_size(step.shape) for step in steps]
    length = sum(side + depth + ARROW for side, _, depth in boxes) - ARROW
    tallest = max(height + depth for _, height, depth in boxes)
    lines = max("\n".join(step.details).count("\n") + 1 for step in steps)
    low = -max(tallest / 2, 4 + 10 * lines) - 12  # the sizes stand below all else
    high = max(tallest / 2 + 2, 16)
    wide = max(POINTS_WIDE, length + 12)
    if ax is None:
        size = (wide / 72, (high - low + (16 if title else 0)) / 72)
        ax = plt.subplots(figsize=size)[1]
    left = (wide - length) / 2 if wide > POINTS_WIDE else 6.0
    for step, (side, height, depth) in zip(steps, boxes, strict=True):
        if step.name:
            _draw_arrow(ax, left, step)
            left += ARROW
        _draw_box(ax, left, (side, height, depth))
        center = left + (side + depth) / 2
        shape = "×".join(map(str, step.shape))
        ax.text(center, low, shape, ha="center", va="bottom", fontsize=8)
        left += side + depth
    ax.set(xlim=(0, wide), ylim=(low, high), aspect="equal", title=title)
    ax.set_axis_off()
    return ax


def _box_size(shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Return the width, height and depth in which a shape is drawn, in points."""
    if len(shape) == 3:
        channels, height, width = shape
        return width * PIXEL, height * PIXEL, 1.8 * math.log2(channels)
    return 5.0, max(5.0, math.sqrt(math.prod(shape)) * PIXEL), 0.0


def _draw_box(ax: Axes, left: float, size: tuple[float, float, float]) -> None:
    """Draw a box from its left edge, the middle of its height at 0."""
    side, height, depth = size
    bottom = -(height + depth) / 2
    right, top = left + side, bottom + height
    face = [(left, bottom), (right, bottom), (right, top), (left, top)]
    roof = [(left, top), (right, top)] + [
        (x + depth, top + depth) for x in (right, left)
    ]
    flank = [(right, bottom), (right, top)] + [
        (right + depth, y + depth) for y in (top, bottom)
    ]
    for corners, opacity in [(face, 0.3), (roof, 0.15), (flank, 0.5)]:
        ax.add_patch(plt.Polygon(corners, facecolor="C0", alpha=opacity, linewidth=0))
        ax.add_patch(plt.Polygon(corners, fill=False, edgecolor="C0", linewidth=0.8))


def _draw_arrow(ax: Axes, left: float, step: Step) -> None:
    """Draw an arrow to the next box, named by the layer."""
    middle = left + ARROW / 2
    arrow = {"arrowstyle": "->", "color": "C1", "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (left + ARROW - 4, 0), (left + 4, 0), arrowprops=arrow)
    ax.text(middle, 3, step.name, ha="center", va="bottom", color="C1", fontsize=9)
    text = "\n".join(step.details)
    ax.text(middle, -3, text, ha="center", va="top", fontsize=8, linespacing=1.05)
