"""The page "Train a network": its parts, its digits as a script, and its figure.

The page computes in the reader's browser (``book/_static/train.js``), with digits
that the build packs into a script. For paper, e-books and browsers without
JavaScript there is a figure: PyTorch on the same digits.
"""

import base64
import json
import os
import zlib
from pathlib import Path

from booksite_draw import digest, write_script
from booksite_nodes import Part
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from helpers.files import replacing

SCRIPT = "_static/train-digits.js"
STEPS = {"train": 20, "test": 10}  # the page has every 20th and every 10th digit
NUM_EPOCHS = 20


class TrainDirective(SphinxDirective):
    """``{train}``, the network that learns, and ``{try} lr=10``, an experiment.

    The content of the first is the figure's caption; that of an experiment is what
    it shows. It is folded: the reader is to predict it.
    """

    optional_arguments = 1
    option_spec = {"alt": directives.unchanged}
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave placeholders, and note that this page needs the digits."""
        self.env.metadata[self.env.docname]["trains"] = True
        content = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, content)
        if self.name == "try":
            begin = part("train-try.html", state=self.arguments[0])
            return [begin, *content.children, part("train-tried.html")]
        path = write_figure(self.env.app)
        address = os.path.relpath(path, self.env.srcdir).replace(os.sep, "/")
        image = nodes.image(uri=f"/{address}", alt=self.options["alt"])
        caption = nodes.caption("", "", *content[0].children)
        still = nodes.figure("", image, caption, classes=["still"])
        return [still, part("train.html")]


def part(template: str, state: str = "") -> Part:
    """Return what stands where a part of the page will be, on the site."""
    return Part(template=template, values=part_values, on_paper="", state=state)


def part_values(app, docname: str, part: Part) -> dict:
    """Return what the templates of the page are filled with."""
    title = part.parent.next_node(nodes.title).astext()
    return {"state": part["state"], "title": title}


def write_digits(app, exception) -> None:
    """Write the script with the digits, if it is not there."""
    write_script(app, exception, "trains", SCRIPT, digits_script)


def write_figure(app) -> Path:
    """Write the figure, if it is not there; return its path."""
    path = Path(app.doctreedir).parent / f"train-{digest(app, draw)}.svg"
    if not path.is_file():
        text = draw()
        with replacing(path) as file:
            file.write(text.encode())
    return path


def digits():
    """Return some digits, training digits first: uint8 levels to 15, and labels."""
    import torch

    from helpers import data

    halves = [(data.mnist(split), step) for split, step in STEPS.items()]
    images = torch.cat([half.data[::step] for half, step in halves])
    labels = torch.cat([half.targets[::step] for half, step in halves])
    return (images.float() / 17).round().to(torch.uint8), labels


def digits_script() -> str:
    """Return JavaScript that defines the digits, two pixels a byte, compressed."""
    from helpers import data

    images, labels = digits()
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


def draw() -> str:
    """Train in PyTorch what the page begins with; return its curves as SVG."""
    import matplotlib.pyplot as plt
    import torch
    from torch import nn
    from torch.utils.data import TensorDataset

    from helpers import data, plotting
    from helpers.training import fit

    images, labels = digits()
    pixels = (images.float() / 15 - data.MNIST_MEAN) / data.MNIST_STD
    sizes = [60_000 // STEPS["train"], 10_000 // STEPS["test"]]
    train, test = map(TensorDataset, pixels.split(sizes), labels.split(sizes))
    loss_fn, cpu = nn.CrossEntropyLoss(), torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)
        model = nn.Sequential(nn.Flatten(), *layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = data.batches(train, batch_size=32, shuffle=True)
        history = fit(model, loader, [test[:]], loss_fn, optimizer, cpu, NUM_EPOCHS)
    plotting.use_book_style()
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.2))
    for ax, name in zip(axes, ["loss", "accuracy"], strict=True):
        for half, label in [("train", "training"), ("validation", "test")]:
            values = [row[f"{half}_{name}"] for row in history["epochs"]]
            ax.plot(values, label=f"{label} digits")
        ax.set(title=name, xlabel=f"times through {sizes[0]:,} digits")
    axes[0].set_yscale("log")
    axes[0].legend()
    return plotting.figure_to_svg(figure)


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_directive("train", TrainDirective)
    app.add_directive("try", TrainDirective)
    app.connect("build-finished", write_digits)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
