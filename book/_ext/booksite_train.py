"""The page "Train a network": its parts, its digits as a script, and its figure.

The page computes in the reader's browser (``book/_static/train.js``), with digits
that the build packs into a script. For paper, e-books and browsers without
JavaScript, the build draws a figure: PyTorch on the same digits.
"""

import base64
import json
import posixpath
import zlib

from booksite_draw import write_script
from booksite_nodes import write_themes
from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

SCRIPT = "_static/train-digits.js"
FIGURE_SIZE = (8.0, 3.2)  # in inches
STEPS = {"train": 20, "test": 10}  # the page has every 20th and every 10th digit
NUM_EPOCHS = 20


class TrainPart(nodes.General, nodes.Element):
    """Stands where a part of the page will be."""


class TrainDirective(SphinxDirective):
    """``{train}``, the network that learns, and ``{try} lr=10``, an experiment.

    What an experiment shows is its content. It is folded: the reader is to
    predict it.
    """

    optional_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave placeholders, and note that this page needs the digits."""
        self.env.metadata[self.env.docname]["trains"] = True
        if self.name == "train":
            return [TrainPart(template="train.html")]
        shows = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, shows)
        opened = TrainPart(template="train-try.html", state=self.arguments[0])
        return [opened, *shows.children, nodes.raw("", "</details>", format="html")]


def write_parts(app, doctree, docname) -> None:
    """Put the parts of the page into its tree."""
    if app.builder.format != "html":
        return  # the check of links writes no page
    target = app.builder.get_target_uri(docname)
    images = relative_uri(target, app.builder.imagedir)
    for part in list(doctree.findall(TrainPart)):
        context = {
            "static": relative_uri(target, "_static/").rstrip("/"),
            "figure": posixpath.join(images, "train"),
            "size": [round(96 * inches) for inches in FIGURE_SIZE],
            "state": part.get("state"),
            "title": part.parent.next_node(nodes.title).astext(),
        }
        html = app.builder.templates.render(part["template"], context)
        part.replace_self(nodes.raw("", html, format="html"))


def write_digits(app, exception) -> None:
    """Write the script with the digits and the figure, if they are not there."""

    def make() -> str:
        images, labels = digits()
        write_themes(app.builder, "train", draw(images, labels))
        return digits_script(images, labels)

    write_script(app, exception, "trains", SCRIPT, make)


def digits():
    """Return some digits, training digits first: uint8 levels to 15, and labels."""
    import torch

    from helpers import data

    halves = [(data.mnist(split), step) for split, step in STEPS.items()]
    images = torch.cat([half.data[::step] for half, step in halves])
    labels = torch.cat([half.targets[::step] for half, step in halves])
    return (images.float() / 17).round().to(torch.uint8), labels


def digits_script(images, labels) -> str:
    """Return JavaScript that defines the digits, two pixels a byte, compressed."""
    from helpers import data

    levels = images.flatten()
    packed = (16 * levels[::2] + levels[1::2]).numpy().tobytes()
    content = {
        "train": 60_000 // STEPS["train"],
        "mean": data.MNIST_MEAN,
        "std": data.MNIST_STD,
        "labels": "".join(map(str, labels.tolist())),
        "pixels": base64.b64encode(zlib.compress(packed, 9)).decode(),
    }
    return f"const DIGITS = {json.dumps(content)};\n"


def draw(images, labels) -> str:
    """Train in PyTorch what the page begins with, and draw its curves."""
    import matplotlib.pyplot as plt
    import torch
    from torch import nn
    from torch.utils.data import TensorDataset

    from helpers import data, plotting
    from helpers.evaluation import evaluate
    from helpers.training import train_one_epoch

    pixels = (images.float() / 15 - data.MNIST_MEAN) / data.MNIST_STD
    num_train = 60_000 // STEPS["train"]
    train = TensorDataset(pixels[:num_train], labels[:num_train])
    test = TensorDataset(pixels[num_train:], labels[num_train:])
    loss_fn, cpu, rows = nn.CrossEntropyLoss(), torch.device("cpu"), []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)
        )
        loader = data.batches(train, batch_size=32, shuffle=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(NUM_EPOCHS + 1):
            if epoch > 0:
                train_one_epoch(model, loader, loss_fn, optimizer, cpu)
            rows.append(
                [evaluate(model, [half[:]], loss_fn, cpu) for half in (train, test)]
            )
    plotting.use_book_style()
    figure, axes = plt.subplots(1, 2, figsize=FIGURE_SIZE)
    measured = torch.tensor(rows)  # (epoch, half, loss or accuracy)
    for number, (ax, name) in enumerate(zip(axes, ["loss", "accuracy"], strict=True)):
        for half, label in enumerate(["training digits", "test digits"]):
            ax.plot(measured[:, half, number], color=f"C{half}", label=label)
        ax.set(title=name, xlabel=f"times through {num_train:,} training digits")
    axes[0].set_yscale("log")
    axes[0].legend()
    return plotting.figure_to_svg(figure)


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_node(TrainPart)
    app.add_directive("train", TrainDirective)
    app.add_directive("try", TrainDirective)
    app.connect("doctree-resolved", write_parts)
    app.connect("build-finished", write_digits)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
