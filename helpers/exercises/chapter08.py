"""Chapter 8: checkpoints."""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers import checkpoint
from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    mapping,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "08.1",
    hints=[
        "Change what you read from the file before you give it to `restore`: replace "
        "one entry of `saved` by what a new run has.",
        "Without the random state: `saved['random']['torch'] = "
        "torch.get_rng_state()`. Without the optimizer's: `saved['optimizer'] = "
        "run.optimizer.state_dict()`.",
        "`(flat(one.model) != flat(other.model)).float().mean()` is the share of "
        "weights that differ.",
    ],
)
def something_forgotten(attempt: object) -> str:
    """Judge three shares of weights that differ by what must hold of them."""
    kinds = ["nothing", "random", "optimizer"]
    answers = mapping(attempt, "my_shares", kinds)
    shares = {k: number(v, f'my_shares["{k}"]') for k, v in answers.items()}
    for kind, share in shares.items():
        if not 0 <= share <= 1:
            raise Wrong(
                f'`my_shares["{kind}"]` is {share:.4g}. A share lies between 0 and 1.'
            )
    if shares["nothing"] > 0:
        raise Wrong(
            f"With everything restored, {shares['nothing']:.0%} of the weights differ. "
            "It should be none: two runs resumed from one file are the same to the bit."
        )
    for kind in kinds[1:]:
        if shares[kind] == 0:
            raise Wrong(
                f'Without "{kind}", no weight differs. Was it forgotten *before* '
                "`restore`, or did `restore` bring it back?"
            )
        if shares[kind] < 0.3:
            raise Wrong(
                f'Without "{kind}", only {shares[kind]:.1%} of the weights differ. '
                "Hundreds of steps separate the runs: most weights should. Do you "
                "compare all weights, after one more epoch?"
            )
    return "Exact with everything, and another run without either."


# Exercise 2 ---------------------------------------------------------------------


def _epochs(model: nn.Module, accuracies: list[float]) -> Iterator[float]:
    """Change a network's weights in place, epoch after epoch."""
    for accuracy in accuracies:
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(10 * torch.randn(tensor.shape))
        yield accuracy


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _state_dict(found: object, call: str, names: Collection[str]) -> dict[str, Tensor]:
    """Return a state dict that a network with these names could load."""
    if not isinstance(found, Mapping):
        raise Wrong(
            f"`{call}` should return a state dict, but returns {describe(found)}."
        )
    if set(found) != set(names):
        text = (
            f"The state dict returned should have the names {sorted(names)}, but has "
            f"{sorted(map(str, found))[:6]}."
        )
        if missing := sorted(set(names) - set(found)):
            text += f" It lacks {missing}."
        raise Wrong(text)
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise Wrong(
                f'The value of "{name}" is {describe(value)}. `load_state_dict` takes '
                "tensors only."
            )
    return dict(found)


@exercise(
    "08.2",
    hints=[
        "Print one number of `best` after each epoch. Does it stay?",
        "The tensors of a state dict share their memory with the network. When the "
        "network learns, they change.",
        "Copy them: `{name: value.clone() for name, value in ...items()}`.",
    ],
)
def best_weights(attempt: object) -> str:
    """Try a function that keeps the best weights of several epochs."""
    call = "my_keep_best(model, epochs)"
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    accuracies = [0.5, 0.8, 0.93, 0.91, 0.6]
    after: list[dict[str, Tensor]] = []

    def epochs() -> Iterator[float]:
        for accuracy in _epochs(model, accuracies):
            after.append(_copy(model))
            yield accuracy

    tried = f"five epochs of the accuracies {accuracies}"
    answer = returned(attempted(attempt, call, model, epochs(), tried=tried), call)
    found = _state_dict(answer, call, model.state_dict())
    if len(after) < len(accuracies):
        raise Wrong(f"Only {len(after)} of the five epochs were run.")
    for epoch in (2, 0, 1, 3, 4):
        if all(same(found[name], after[epoch][name]) for name in found):
            break
    else:
        raise Wrong("These are not the weights of any epoch.")
    next(_epochs(model, [1.0]))  # the network goes on
    if any(not same(found[name], after[epoch][name]) for name in found):
        raise Wrong(
            "What is returned is the network's own weights, and changes as it learns: "
            "here they are the weights of the last epoch. The tensors of a state dict "
            "share their memory with the network: copy them, when they are the best."
        )
    if epoch == 4:
        raise Wrong(
            "These are copies, but of the last epoch's weights. Copy them in the epoch "
            "that is the best so far, and not at the end."
        )
    if epoch != 2:
        raise Wrong(
            f"These are the weights of epoch {epoch + 1}, whose accuracy is "
            f"{accuracies[epoch]}. The best is {max(accuracies)}, in epoch 3."
        )
    return "The weights of the best epoch, whatever the network does afterwards."


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "08.3",
    hints=[
        "Take the code of the experiment and write `torch.optim.SGD(..., lr=0.01, "
        "momentum=0.9)` for Adam.",
        "To forget, make a new optimizer for the same network after the six epochs. "
        "To remember, go on with the old one.",
        "Both runs must begin with the same weights and see the same batches.",
    ],
)
def lost_velocity(attempt: object) -> str:
    """Judge two curves of the loss by what must hold of them."""
    pair = sequence(attempt, "(my_remembering, my_forgetting)", 2)
    names = ("my_remembering", "my_forgetting")
    curves = [as_tensor(c, n).double() for c, n in zip(pair, names, strict=True)]
    for curve, name in zip(curves, names, strict=True):
        if curve.ndim != 1 or len(curve) not in (70, 71):
            raise Wrong(
                f"`{name}` should be a loss after each of 70 steps, but has the shape "
                f"{tuple(curve.shape)}."
            )
        if not (curve > 0).all():
            raise Wrong(f"A loss in `{name}` is not a positive number.")
        if (curve > 0.7).all() and (curve <= 1).all():
            raise Wrong(
                f"`{name}` lies between {curve.min():.2f} and {curve.max():.2f}. Are "
                "these accuracies? Asked for is the loss."
            )
        if curve[0] > 1.2:
            raise Wrong(
                f"`{name}` begins at {curve[0]:.2f}. After six epochs the loss is far "
                "below that: did the run begin from the trained weights?"
            )
    remembering, forgetting = curves
    if torch.equal(remembering[:70], forgetting[:70]):
        raise Wrong(
            "The two curves are the same. The forgetting run needs a new optimizer."
        )
    if abs(remembering[0] - forgetting[0]) > 0.1:
        raise Wrong(
            f"The curves begin at {remembering[0]:.2f} and {forgetting[0]:.2f}. Both "
            "should begin with the same weights."
        )
    ratio = (forgetting.mean() / remembering.mean()).item()
    if not 0.85 < ratio < 1.15:
        raise Wrong(
            f"Without memory the mean loss is {ratio:.2f} times that with it. That is "
            "more than a lost velocity costs: is it SGD, with lr=0.01, and do both "
            "runs see the same batches?"
        )
    return f"Without its velocity, the mean loss is {ratio:.2f} times that with it."


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "08.4",
    hints=[
        "Read all files first: `[checkpoint.read(path)['model'] for path in paths]`.",
        "For each name: stack the tensors of this name, and take the mean over the "
        "new axis.",
        "`torch.stack([one[name].double() for one in dicts]).mean(dim=0)`; whole "
        "numbers have no mean, hence `double`.",
    ],
)
def mean_of_checkpoints(attempt: object) -> str:
    """Try a function that averages checkpoints."""
    call = "my_average(paths)"
    for count in (3, 4):
        dicts = [
            nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()
            for _ in range(count)
        ]
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"checkpoint-{i:06d}.pt") for i in range(count)]
            for path, weights in zip(paths, dicts, strict=True):
                checkpoint.write({"model": weights}, path)
            tried = (
                f"{count} checkpoints of a small network, whose names are "
                f"{', '.join(dicts[0])}. It should suit any network: take the names "
                "from the files"
            )
            found = attempted(attempt, call, paths, tried=tried)
        _judge_mean(returned(found, call), dicts, call)
    return "Each weight is the mean of its values."


def _judge_mean(found: object, dicts: list[dict[str, Tensor]], call: str) -> None:
    """Compare a state dict with the mean of several."""
    weights = _state_dict(found, call, dicts[0])
    for name in dicts[0]:
        values = torch.stack([one[name] for one in dicts])
        value = as_tensor(weights[name], f'the averaged "{name}"', values[0].shape)
        if same(value, values.mean(dim=0), 1e-5):
            continue
        if same(value, values.sum(dim=0), 1e-5):
            raise Wrong(f"`{name}` is the sum over the files; divide by their number.")
        if same(value, values[-1], 1e-6):
            raise Wrong(f"`{name}` is that of the last file, not the mean.")
        mixed = values[0]
        for other in values[1:]:
            mixed = (mixed + other) / 2
        if same(value, mixed, 1e-5):
            raise Wrong(
                "The mean of a mean and the next value counts the last file for half. "
                "Add all, then divide once."
            )
        raise Wrong(f"`{name}` is not the mean of its values in the files.")
