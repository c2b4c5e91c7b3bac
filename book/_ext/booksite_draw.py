"""The page "Draw a digit": its parts, and its networks as scripts.

The page computes in the reader's browser (``book/_static/draw.js``). The
networks' parameters and some test digits come from the build: written into
scripts, because a page that is opened from a folder may not fetch other files.
"""

import base64
import hashlib
import inspect
import json
from pathlib import Path

from booksite_nodes import Part
from docutils import nodes
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective

from helpers.files import replacing

_ = get_translation("booksite")
SCRIPT = "_static/draw-network.js"
MORE_SCRIPT = "_static/draw-more.js"
ON_PAPER = "What stands here on the book's site computes while you draw."
NUM_MISREAD = 6
# The networks to choose from, by their names in `trained_model`.
NETWORKS = {"dropout": _("trained on MNIST"), "varied": _("trained on varied digits")}
# The slider goes through the first network's first epoch; its end is one more stop.
STOPS = (0, 30, 100, 300, 860)


class DrawPartDirective(SphinxDirective):
    """``{draw} pad``, ``{draw} layers``, ``{draw} wrong``: the parts of the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder, and note that this page needs the network."""
        self.env.metadata[self.env.docname]["draws"] = True
        template = f"draw-{self.arguments[0]}.html"
        return [Part(template=template, values=part_values, on_paper=ON_PAPER)]


def part_values(app, docname: str, part: Part) -> dict:
    """Return what the templates of the page are filled with."""
    return {"misread": NUM_MISREAD, "networks": NETWORKS, "stops": STOPS}


def write_script(app, exception, flag: str, name: str, make) -> None:
    """Write what `make` returns, if a page needs it and it is not there.

    A page that needs it has noted `flag`. The file's first line names all that its
    text depends on.
    """
    pages = app.env.metadata.values() if app.env else ()
    needed = any(flag in page for page in pages) and not app.config.book_english
    if exception or app.builder.name != "html" or not needed:
        return
    first_line = f"// Written by the build of the book, from {digest(app, make)}."
    path = Path(app.outdir, name)
    if path.is_file() and path.read_text("utf-8").startswith(first_line):
        return
    text = make()
    with replacing(path) as file:
        file.write(f"{first_line}\n{text}".encode())


def digest(app, make) -> str:
    """Return a name for all that the result of `make` depends on.

    The results of notebooks are kept under a name that follows from helpers/ and the
    installed versions; see booksite_execution.execution_key.
    """
    digest = hashlib.sha256(Path(app.config.nb_execution_cache_path).name.encode())
    digest.update(Path(inspect.getfile(make)).read_bytes())
    return digest.hexdigest()[:16]


def write_network(app, exception) -> None:
    """Write the script with the trained network, and that with all others."""
    write_script(app, exception, "draws", SCRIPT, network_script)
    write_script(app, exception, "draws", MORE_SCRIPT, more_script)


def network_script() -> str:
    """Return JavaScript that defines the trained network and the test digits."""
    from helpers import data
    from helpers.pretrained import trained_model

    model, history = trained_model(next(iter(NETWORKS)))
    chosen, num_misread = samples(model, data.mnist("test"))
    content = {
        "mean": data.MNIST_MEAN,
        "std": data.MNIST_STD,
        "weights": encode_state(model),
        "stops": [*STOPS, len(history["steps"])],
        "samples": chosen,
        "num_misread": num_misread,
    }
    return f"const NETWORK = {json.dumps(content)};\n"


def more_script() -> str:
    """Return JavaScript that defines the network while it learned, and the others."""
    from helpers.pretrained import trained_model

    first, *others = NETWORKS
    content = earlier_states(first) | {
        name: encode_state(trained_model(name)[0]) for name in others
    }
    return f"const MORE = {json.dumps(content)};\n"


def earlier_states(name: str) -> dict[str, dict]:
    """Return the weights at the stops, from `trained_model`'s first epoch again."""
    from helpers.pretrained import train

    states = {}

    def keep(model, step: int) -> None:
        if step in STOPS:
            states[str(step)] = encode_state(model)

    train(name, epochs=1, watch=keep)
    return states


def encode_state(model) -> dict[str, dict]:
    """Return a network's parameters by name: their shapes, and numbers as base64."""
    return {
        name: {"shape": list(values.shape), "values": encode(values, "<f4")}
        for name, values in model.state_dict().items()
    }


def encode(values, dtype: str) -> str:
    """Return a tensor's numbers as base64."""
    return base64.b64encode(values.numpy().astype(dtype).tobytes()).decode()


def samples(model, test) -> tuple[list[dict], int]:
    """Choose test digits, and count those that the network misreads.

    The chosen are one of each class, the first that is read right, and then the
    mistakes that the network is most sure of, each of another class.
    """
    import torch

    from helpers import data
    from helpers.evaluation import predict

    loader = data.batches(data.to_tensors(test), 1_000)
    logits, _ = predict(model, loader, torch.device("cpu"))
    sure, said = logits.softmax(dim=1).max(dim=1)
    right = said == test.targets
    chosen = [
        torch.nonzero(right & (test.targets == label))[0].item() for label in range(10)
    ]
    wrong = torch.nonzero(~right)[:, 0]
    wrong = wrong[sure[wrong].argsort(descending=True)]
    misread: dict[int, int] = {}
    for index in wrong.tolist():
        misread.setdefault(test.targets[index].item(), index)
    chosen += list(misread.values())[:NUM_MISREAD]
    described = [
        {
            "index": index,
            "label": test.targets[index].item(),
            "pixels": encode(test.data[index], "u1"),
        }
        for index in chosen
    ]
    return described, len(wrong)


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_directive("draw", DrawPartDirective)
    app.connect("build-finished", write_network)
    app.setup_extension("booksite_train")
    return {"parallel_read_safe": False, "parallel_write_safe": False}
