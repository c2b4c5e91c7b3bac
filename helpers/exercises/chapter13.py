"""Chapter 13: five tutorials."""

import copy
import json
import math
import random
import statistics
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

from helpers import data
from helpers.evaluation import evaluate
from helpers.exercises._answers import (
    attempted,
    describe,
    is_empty,
    network,
    number,
    returned,
    same,
    sequence,
    told,
)
from helpers.exercises._registry import Wrong, exercise

CPU = torch.device("cpu")

# Exercise 1 ---------------------------------------------------------------------

ROOM = 0.03  # for an answer that draws its own random numbers


@exercise(
    "13.1",
    hints=[
        "Draw `n + 1` numbers for each of many experiments: the runs, and the one that "
        "follows.",
        "The lowest and the highest of the runs: `runs.amin(dim=1)` and "
        "`runs.amax(dim=1)`. The next falls outside on either side.",
        "Or count: of n + 1 runs, how likely is the last one to be the lowest? And the "
        "highest?",
    ],
)
def share_outside(attempt: object) -> str:
    """Try a function that says how often a run falls outside the range of others."""
    call = "my_share_outside(n)"
    found = {}
    for n in (2, 3, 9, random.randint(4, 7), random.randint(12, 20)):
        value = returned(attempted(attempt, call, n, tried=f"n = {n}"), call)
        found[n] = number(value, f"my_share_outside({n})")
    truth = {n: 2 / (n + 1) for n in found}
    if all(abs(found[n] - truth[n]) < ROOM for n in found):
        return f"{truth[9]:.0%} for nine runs, and 10 % for nineteen."
    remarks = {
        "This is how often it stays inside.": {n: 1 - s for n, s in truth.items()},
        "This is one side only: the next run may be the lowest or the highest.": {
            n: 1 / (n + 1) for n in found
        },
        "Of how many runs is each as likely to be the lowest? Count the next one, "
        "too.": {n: 2 / n for n in found},
        "It is the same for every n. Does it use its argument?": dict.fromkeys(
            found, statistics.median(found.values())
        ),
        "Give a share between 0 and 1, not percent.": {
            n: 100 * s for n, s in truth.items()
        },
    }
    for remark, values in remarks.items():
        room = 100 * ROOM if values[2] > 10 else ROOM
        if all(abs(found[n] - values[n]) < room for n in found):
            raise Wrong(remark)
    n = max(found, key=lambda n: abs(found[n] - truth[n]))
    raise Wrong(
        f"After {n} runs, the next falls outside their range in about {truth[n]:.2f} "
        f"of all cases. `my_share_outside({n})` is {found[n]:.2f}."
    )


# Exercise 2 ---------------------------------------------------------------------


def _made_up_record() -> dict[str, Any]:
    """Return a record of runs that nobody made, with the names of the real ones."""
    wrong_on_new, ratio = random.uniform(0.008, 0.03), random.uniform(2.5, 6)
    runs = []
    for seed in range(3):
        luck = random.uniform(0.98, 1.02)
        epochs = []
        for epoch in range(1, 6):
            new = wrong_on_new * luck * (6 - epoch)
            seen = new / (ratio if epoch == 5 else 1 + epoch / 10)
            epochs.append(
                {
                    "epoch": epoch,
                    "test_loss": 3 * new,
                    "test_accuracy": 1 - new,
                    "training_set_accuracy": 1 - seen,
                }
            )
        curve = [3 * epochs[-1]["test_loss"]] * 10
        classes = [1 - wrong_on_new] * 10
        runs.append({"seed": seed, "epochs": epochs, "loss_log": curve})
        runs[-1] |= {"per_class": classes, "per_class_first_ten": classes}
        runs[-1] |= {"date": "2000-01-01", "environment": {}, "load": [0.0, 0.0, 0.0]}
    recipe = {"model": "dropout", "num_epochs": 5, "batch_size": 64, "claim": {}}
    return {"tutorial": "000", "recipe": recipe, "data": "made up", "runs": runs}


@exercise(
    "13.2",
    hints=[
        'The last epoch of a run is `run["epochs"][-1]`. It has a `"test_accuracy"` '
        'and a `"training_set_accuracy"`.',
        "The share of wrong answers is 1 minus the accuracy.",
        "Take the median over the runs for each of the two shares, and divide.",
    ],
)
def learned_by_heart(attempt: object) -> str:
    """Try a function on made-up records."""
    call = "my_ratio(record)"
    for _ in range(2):
        record = _made_up_record()
        tried = "a made-up record of 3 runs of 5 epochs"
        found = attempted(attempt, call, copy.deepcopy(record), tried=tried)
        _judge_ratio(number(returned(found, call), call), record)
    return "So many times as large is the share of mistakes on new images."


def _wrong(record: dict[str, Any], kind: str, epoch: int = -1) -> list[float]:
    return [1 - run["epochs"][epoch][f"{kind}_accuracy"] for run in record["runs"]]


def _judge_ratio(found: float, record: dict[str, Any]) -> None:
    """See whether a ratio can be that of a record, however it sums up the runs."""
    new, seen = _wrong(record, "test"), _wrong(record, "training_set")
    if 0.999 * min(new) / max(seen) <= found <= 1.001 * max(new) / min(seen):
        return
    one, other = statistics.median(new), statistics.median(seen)
    first = _wrong(record, "test", 0), _wrong(record, "training_set", 0)
    remarks = {
        other / one: "This is upside down: mistakes on training images for each one on "
        "test images.",
        (1 - one) / (1 - other): "This divides the right answers. Divide the wrong "
        "ones: 1 minus the accuracy.",
        (1 - other) / (1 - one): "This divides the right answers. Divide the wrong "
        "ones: 1 minus the accuracy.",
        one - other: "This is the difference of the two. Asked is their ratio.",
        statistics.median(first[0]) / statistics.median(first[1]): "This is the ratio "
        "after the first epoch. Take the last.",
        100 * one / other: "This is in percent. Give the ratio itself.",
    }
    for value, remark in remarks.items():
        if math.isclose(found, value, rel_tol=0.005 if 0.9 < value < 1.1 else 0.05):
            raise Wrong(remark)
    raise Wrong(
        f"With {one:.2%} wrong answers on test images and {other:.2%} on training "
        f"images after the last epoch, the ratio should be near {one / other:.2f}. "
        f"Yours is {found:.3g}."
    )


# Exercise 3 ---------------------------------------------------------------------


class _Small(nn.Module):
    """A network that remembers the weights that it was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(784, 10)
        self.start = self.fc.weight.detach().clone()

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.drop(images.flatten(start_dim=1)))


def _compared(attempt: object, seeds: list[int]) -> dict[int, tuple[_Small, float]]:
    """Return the network and the accuracy that each seed leads to."""
    call = "my_compare_seeds(seeds, network)"
    made: list[_Small] = []

    def small_network() -> _Small:
        made.append(_Small())
        return made[-1]

    tried = f"the seeds {seeds} and a small network"
    found = attempted(attempt, call, list(seeds), small_network, tried=tried)
    found = sequence(returned(found, call), call, len(seeds))
    shares = [number(share, "an accuracy") for share in found]
    if not made:
        raise Wrong("No network is made with `network()`.")
    if len(made) < len(seeds):
        raise Wrong(
            f"For {len(seeds)} seeds, the number of networks made is {len(made)}. Each "
            "seed needs its own first weights, and must not go on where another ended."
        )
    learned = [one for one in made if not torch.equal(one.fc.weight, one.start)]
    if len(learned) < len(seeds):
        raise Wrong(
            f"Of {len(made)} networks, {len(learned)} learn. Does each have an "
            "optimizer of its own, with its own parameters?"
        )
    if not all(0 <= share <= 1 for share in shares):
        raise Wrong(f"{max(shares):.3g} is no accuracy. Give shares between 0 and 1.")
    pairs = zip(learned[-len(seeds) :], shares, strict=True)
    return dict(zip(seeds, pairs, strict=True))


@exercise(
    "13.3",
    hints=[
        "Compare the seeds [0, 1] with the seeds [1, 0]. What should be the same?",
        "How many networks does the function make?",
        "Inside the loop, in this order: the seed, then a new network, then an "
        "optimizer for it.",
    ],
)
def seeds_compared_fairly(attempt: object) -> str:
    """Try a function that compares seeds, with the same seeds in two orders."""
    a, b, c = random.sample(range(1_000), 3)
    first = _compared(attempt, [a, b, c])
    if torch.equal(first[a][0].start, first[b][0].start):
        raise Wrong(
            "All seeds begin with the same weights. Set each seed before its network "
            "is made."
        )
    second = _compared(attempt, [c, a, b])
    for seed in (a, b, c):
        one, other = first[seed][0], second[seed][0]
        if not torch.equal(one.start, other.start):
            raise Wrong(
                f"Seed {seed} begins with other weights when other seeds come before "
                "it. Set the seed before the network is made."
            )
        if not same(one.fc.weight.detach(), other.fc.weight.detach()):
            raise Wrong(
                f"Seed {seed} begins with the same weights, but ends with others when "
                "other seeds come before it. Does the order of the digits begin anew?"
            )
        if abs(first[seed][1] - second[seed][1]) > 1e-3:
            raise Wrong(
                f"The network of seed {seed} is the same whatever comes before it, but "
                f"its accuracy is {first[seed][1]:.1%} and {second[seed][1]:.1%}. "
                "Return the accuracies in the order of the seeds."
            )
    return "A seed's result is its own, whichever seeds come before it."


# Exercise 4 ---------------------------------------------------------------------

RECIPE: dict[str, Any] = {
    "network": "dropout",
    "num_examples": 192,
    "mean": 0.1307,
    "std": 0.3081,
    "batch_size": 64,
    "num_epochs": 1,
    "optimizer": "SGD",
    "settings": {"lr": 0.05, "momentum": 0.9},
}
# Each of these in its place has to lead to another network.
OTHER: list[tuple[str, Any]] = [
    ("network", "small-padded"),
    ("num_examples", 128),
    ("mean", 0.5),
    ("std", 0.5),
    ("batch_size", 32),
    ("num_epochs", 2),
    ("settings", {"lr": 0.02, "momentum": 0.9}),
    ("settings", {"lr": 0.05, "momentum": 0.5}),
    ("optimizer", "Adam"),
]


@exercise(
    "13.4",
    hints=[
        "Write `my_repeat` first, and make the runs of the record with it. A network "
        'by its name: `models.MODELS[recipe["network"]]()`.',
        "The first `n` digits, prepared as the recipe says: `(pixels[:n] / 255 - "
        'recipe["mean"]) / recipe["std"]`. An optimizer by its name: '
        '`getattr(torch.optim, recipe["optimizer"])`, called with '
        '`**recipe["settings"]`.',
        "`json.dumps(my_record)` fails if there is a tensor in it: `.item()` makes a "
        "number.",
    ],
)
def record_and_stranger(attempt: object) -> str:
    """Judge a record by what it has to say, and repeat a run with what it says."""
    record, repeat = sequence(attempt, "(my_record, my_repeat)", 2)
    for part, name in ((record, "my_record"), (repeat, "my_repeat")):
        if is_empty(part):
            raise Wrong(f"`{name}` is still empty.")
    text = _judge_record(record)
    run = random.choice(json.loads(text)["runs"])
    call = "my_repeat(record, seed)"
    tried = f"your record and seed {run['seed']}"
    model = attempted(repeat, call, json.loads(text), run["seed"], tried=tried)
    model = network(returned(model, call), call)
    loss_fn = nn.CrossEntropyLoss()
    new = _new_digits(json.loads(text)["recipe"])
    _, measured = evaluate(model.to(CPU), [new[:]], loss_fn, CPU)
    if abs(measured - run["accuracy"]) > 0.0025:
        raise Wrong(
            f"The record says {run['accuracy']:.1%} for seed {run['seed']}. Repeated, "
            f"the network reads {measured:.1%} of the digits 50,000 to 50,999. Is "
            "everything that decides the result in the record, and used?"
        )
    _judge_repeating(repeat, json.loads(text))
    return f"A stranger who repeats seed {run['seed']} gets {measured:.1%}, too."


def _judge_record(record: object) -> str:
    """Return a record as JSON, if it says all that it has to."""
    _has(record, "my_record", ["recipe", "data", "environment", "runs"])
    try:
        text = json.dumps(record)
    except (TypeError, ValueError) as error:
        raise Wrong(f"`json.dumps(my_record)` raises `{told(error)}`.") from error
    read = json.loads(text)
    _has(read["recipe"], 'my_record["recipe"]', list(RECIPE))
    _has(read["recipe"]["settings"], 'my_record["recipe"]["settings"]', ["lr"])
    _has(read["environment"], 'my_record["environment"]', ["python", "torch"])
    if not isinstance(read["data"], str):
        raise Wrong('`my_record["data"]` should say in words which digits were used.')
    runs = read["runs"]
    if not isinstance(runs, list) or len(runs) < 3:
        raise Wrong('`my_record["runs"]` should be a list of three runs or more.')
    for i, run in enumerate(runs):
        _has(run, f'my_record["runs"][{i}]', ["seed", "accuracy"])
        if not isinstance(run["seed"], int):
            raise Wrong(f"A seed is a whole number, not {describe(run['seed'])}.")
        share = number(run["accuracy"], "an accuracy")
        if not 0 <= share <= 1:
            raise Wrong(f"{share:.3g} is no accuracy. Give a share between 0 and 1.")
        if abs(1_000 * share - round(1_000 * share)) > 0.01:
            raise Wrong(
                f"An accuracy of {share:.4%} cannot be: it is no whole number out of "
                "1,000 digits."
            )
    if len({run["seed"] for run in runs}) < len(runs):
        raise Wrong("Two runs of the record have the same seed.")
    return text


def _has(value: object, name: str, keys: list[str]) -> None:
    """See whether a dictionary has something for each of some keys."""
    if not isinstance(value, Mapping):
        raise Wrong(f"`{name}` should be a dictionary, but is {describe(value)}.")
    missing = [key for key in keys if is_empty(value.get(key))]
    if missing:
        raise Wrong(f"`{name}` says nothing of {', '.join(map(repr, missing))}.")


def _new_digits(recipe: dict[str, Any]) -> TensorDataset:
    """Return the digits that the exercise measures on, as a recipe prepares them."""
    part = Subset(data.mnist("train"), range(50_000, 51_000))
    scale = []
    for name in ("mean", "std"):
        value = recipe[name]
        if isinstance(value, list) and len(value) == 1:  # one for the one channel
            value = value[0]
        scale.append(number(value, f'my_record["recipe"]["{name}"]'))
    return data.to_tensors(part, *scale)


def _judge_repeating(repeat: object, record: dict[str, Any]) -> None:
    """See whether each word of a record decides what its repetition leads to."""

    def weights(recipe: dict[str, Any], seed: int) -> Tensor:
        recipe = RECIPE | recipe
        asked = copy.deepcopy(record) | {"recipe": record["recipe"] | recipe}
        call, tried = "my_repeat(record, seed)", f"the recipe {recipe}"
        model = attempted(repeat, call, asked, seed, tried=tried)
        model = network(returned(model, call), call)
        return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])

    seed = random.randint(100, 1_000)
    once, again = weights({}, seed), weights({}, seed)
    if not same(once, again):
        raise Wrong(
            "`my_repeat` leads to two different networks with one seed. Set the seed "
            "before the network is made, and for the order of the digits."
        )
    if torch.equal(once, weights({}, seed + 1)):
        raise Wrong("`my_repeat` takes no notice of its seed.")
    for key, value in OTHER:
        # What every optimizer takes.
        plain = {"settings": {"lr": 0.01}} if key == "optimizer" else {}
        first = weights(plain, seed) if plain else once
        if torch.equal(first, weights(plain | {key: value}, seed)):
            raise Wrong(
                f'`my_repeat` takes no notice of all in `record["recipe"]["{key}"]`: '
                "a stranger with another value gets the same network."
            )
