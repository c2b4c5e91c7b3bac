"""Chapter 4: the network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import MNIST_MEAN, MNIST_STD
from helpers.exercises._answers import (
    CountCalls,
    judge_ending,
    judge_gradients,
    logits_of,
    mapping,
    network,
    number,
    same,
)
from helpers.exercises._digits import some_digits
from helpers.exercises._registry import Wrong, exercise
from helpers.models import DropoutNet, count_parameters

Counts = dict[str, int]  # by the layer's name

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "04.1",
    hints=[
        "The first convolution: 28 + 2 · 2 - 5 + 1 = 28. Then pooling halves it.",
        "Follow the side through the second convolution and its pooling. The first "
        "linear layer receives all channels of the last maps.",
    ],
)
def flat_size(attempt: object) -> str:
    """Compare a predicted number of features with that of real layers."""
    found = number(attempt, "my_flat_size")
    blocks = nn.Sequential(
        *(nn.Conv2d(1, 10, 5, padding=2), nn.MaxPool2d(2)),
        *(nn.Conv2d(10, 20, 5, padding=2), nn.MaxPool2d(2)),
    )
    _, channels, side, _ = blocks(torch.zeros(1, 1, 28, 28)).shape
    truth = channels * side * side
    if found == truth:
        return f"{channels} maps of {side} by {side}."
    known = {
        20 * 4 * 4: "That is the number without padding.",
        side: "That is the side of a map. How many numbers have all maps together?",
        side * side: "That is one map. How many channels does conv2 put out?",
        10 * side * side: "That would be right for 10 channels; conv2 puts out 20.",
        20 * 14 * 14: "Both blocks pool: the side is halved twice.",
        20 * 28 * 28: "Both blocks pool: the side is halved twice.",
        20 * 5 * 5: "Both convolutions have padding, not only one.",
        20 * 6 * 6: "Padding 2 adds two pixels on each side, four in all.",
    }
    remark = known.get(found, "Follow the side of the maps through all four layers.")
    raise Wrong(f"`my_flat_size` is {found:g}. {remark}")


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "04.2",
    hints=[
        "For one digit, conv1 puts out 10 · 24 · 24 numbers, and each one is the sum "
        "of 1 · 5 · 5 products.",
        "In `shapes` the first number is the batch of 64 digits: leave it out.",
        "The fan-in is the number of weights that lead to one output: "
        "`layer.weight[0].numel()`.",
    ],
)
def multiplications(attempt: object) -> str:
    """Compare counts of multiplications with those that layers really do."""
    expected, parameters, outputs = _count_work(DropoutNet().eval())
    answers = mapping(attempt, "my_multiplications", list(expected))
    complaints = []
    for name, truth in expected.items():
        found = number(answers[name], f'my_multiplications["{name}"]')
        if found == truth:
            continue
        known: dict[float, str] = {
            64 * truth: "is right for the whole batch of 64, not for one digit.",
            parameters[name]: "is its number of parameters. A convolution uses each "
            "of its weights at every place of the image.",
            truth + outputs[name]: "counts the biases, too. They are added, not "
            "multiplied.",
            outputs[name]: "is what it puts out. Each of these costs as many "
            "multiplications as its fan-in.",
            2 * truth: "counts the additions, too.",
        }
        if name == "conv2":
            known[truth // 10] = "leaves out that each of its kernels reaches through "
            known[truth // 10] += "all 10 channels."
        if name.startswith("conv"):
            known[truth // 4] = "takes the size after pooling. Pooling comes later."
        remark = known.get(found, "is not outputs times fan-in.")
        complaints.append(f"{name}: {found:,.0f} {remark}")
    if complaints:
        raise Wrong("\n".join(complaints))
    share = (expected["conv1"] + expected["conv2"]) / sum(expected.values())
    return f"{share:.0%} of the work is done in the convolutions."


def _count_work(model: nn.Module) -> tuple[Counts, Counts, Counts]:
    """Return each layer's multiplications, parameters and outputs, for one digit."""
    work: Counts = {}
    parameters: Counts = {}
    outputs: Counts = {}

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
            outputs[name] = output[0].numel()
            fan_in = layer.get_parameter("weight")[0].numel()
            work[name] = outputs[name] * fan_in
            parameters[name] = count_parameters(layer)

        return hook

    for name in ("conv1", "conv2", "fc1", "fc2"):
        getattr(model, name).register_forward_hook(note(name))
    with torch.no_grad():
        model(torch.zeros(1, 1, 28, 28))
    return work, parameters, outputs


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "04.3",
    hints=[
        "`count_parameters(list_net)` is 0: nn.Module does not look into a list.",
        "An attribute that is a layer is registered, and so is an `nn.ModuleList`: "
        "`self.layers = nn.ModuleList([...])`.",
    ],
)
def registered_layers(attempt: object) -> str:
    """Try a network of two linear layers that must all be registered."""
    model = network(attempt, "my_fixed_net").eval()
    count = count_parameters(model)
    expected = 784 * 50 + 50 + 50 * 10 + 10
    if count == 0:
        raise Wrong(
            "`my_fixed_net` still has no parameters: its layers are not registered."
        )
    if count != expected:
        raise Wrong(
            f"`my_fixed_net` has {count:,} parameters. Layers 784 to 50 and 50 to 10 "
            f"have {expected:,}."
        )
    images = torch.randn(16, 1, 28, 28)
    logits = logits_of(model, images, "my_fixed_net")
    judge_ending(model, images, logits, "my_fixed_net")
    _require_a_bend(model, images, "my_fixed_net")
    judge_gradients(model, logits, "my_fixed_net")
    return f"{count:,} parameters that an optimizer can find."


def _require_a_bend(model: nn.Module, images: Tensor, name: str) -> None:
    """See whether there is something between the layers that is not linear.

    A network of linear layers and convolutions alone is a straight map: what two
    images do to its logits adds up when the images are added. Strong images show
    also a gentle bend, such as that of tanh.
    """
    one, other = 10 * images, 10 * images.roll(1, dims=0)
    with torch.no_grad():
        nothing = logits_of(model, torch.zeros_like(images), name)
        first, second, both = (
            logits_of(model, x, name) - nothing for x in (one, other, one + other)
        )
    if same(both, first + second, tolerance=1e-3):
        raise Wrong(
            f"`{name}` is one straight map, however many layers it has: between them "
            "is no ReLU, nor anything else that is not linear."
        )


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "04.4",
    hints=[
        "Begin with DropoutNet and make it smaller. Most of its parameters sit in fc1.",
        "One linear layer from the flattened maps to ten logits saves the most.",
        "Two convolutions of 8 and 16 channels with kernels of 5 by 5 and pooling, "
        "then a linear layer from 16 · 4 · 4 to 10, have about 6,000 parameters.",
    ],
)
def own_network(attempt: object) -> str:
    """Try a small network of the reader's own."""
    model = network(attempt, "my_net").eval()
    pixels, _ = some_digits(64)
    images = (pixels - MNIST_MEAN) / MNIST_STD
    with CountCalls("conv2d") as counter:
        logits = logits_of(model, images, "my_net")
    one = logits_of(model, images[:1], "my_net")
    count = count_parameters(model)  # after a call: lazy layers have theirs now
    if count >= 10_000:
        raise Wrong(f"`my_net` has {count:,} parameters; allowed are under 10,000.")
    if count == 0:
        raise Wrong("`my_net` has no parameters that training could adjust.")
    if counter.count < 2:
        once = "only one convolution" if counter.count else "no convolution"
        raise Wrong(f"`my_net` does {once}; asked for are two.")
    judge_ending(model, images, logits, "my_net")
    if not torch.allclose(one, logits[:1], atol=1e-3):
        raise Wrong(
            "The first digit gets other logits alone than in a batch of 64. Is there "
            "a `view` or `flatten` that mixes the images?"
        )
    _require_a_bend(model, images, "my_net")
    # Of 64 digits, some are far from a mere 10 %: 48 % was seen with a sound network.
    high = F.softmax(logits, dim=1).max().item()
    if high > 0.8:
        raise Wrong(
            "Untrained, all probabilities should be near 10 %, but the largest is "
            f"{high:.0%}. Are there weights that you set yourself?"
        )
    judge_gradients(model, logits, "my_net")
    return f"{count:,} parameters, {counter.count} convolutions, ten logits."
