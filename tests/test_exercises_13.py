"""Answers to the exercises of chapter 13."""

import copy
import statistics
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import Later, changed, of_chapter
from torch.utils.data import Subset, TensorDataset

from helpers import data, models, records
from helpers.device import environment
from helpers.evaluation import evaluate
from helpers.exercises import chapter13
from helpers.training import train_one_epoch

CPU = torch.device("cpu")


def stub(*arguments):
    """Your code."""


@cache
def digits():
    """Return digits to learn from, and others."""
    train_set = data.mnist("train")
    parts = range(3_200), range(50_000, 51_000)
    return [data.to_tensors(Subset(train_set, part)) for part in parts]


def outside(n, draws=100_000):
    generator = torch.Generator().manual_seed(n)
    numbers = torch.randn(draws, n + 1, generator=generator)
    runs, last = numbers[:, :n], numbers[:, n]
    return (last < runs.amin(dim=1)) | (last > runs.amax(dim=1))


def wrong_answers(record, kind, epoch=-1):
    return [1 - run["epochs"][epoch][f"{kind}_accuracy"] for run in record["runs"]]


def ratio(record, epoch=-1):
    new = wrong_answers(record, "test", epoch)
    seen = wrong_answers(record, "training_set", epoch)
    return statistics.median(new) / statistics.median(seen)


def ratio_of_each(record):
    rows = [run["epochs"][record["recipe"]["num_epochs"] - 1] for run in record["runs"]]
    table = np.array([[r["test_accuracy"], r["training_set_accuracy"]] for r in rows])
    return ((1 - table[:, 0]) / (1 - table[:, 1])).mean()


def ratio_of_accuracies(record):
    last = record["runs"][0]["epochs"][-1]
    return last["test_accuracy"] / last["training_set_accuracy"]


def learn(model, seed, optimizer=None, order=None):
    few, new = (TensorDataset(*part[:640]) for part in digits())
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.01, 0.9)
    order = order or torch.Generator().manual_seed(seed)
    loader = data.batches(few, 64, True, order)
    train_one_epoch(model, loader, F.cross_entropy, optimizer, CPU)
    return evaluate(model, [new[:]], F.cross_entropy, CPU)[1]


def compare(seeds, network):
    results = []
    for seed in seeds:
        torch.manual_seed(seed)
        results.append(learn(network(), seed))
    return results


class Comparing:
    """A class in place of a function: Adam by hand, and the global order."""

    def __call__(self, seeds, network):
        return torch.tensor([self.one(seed, network) for seed in seeds])

    def one(self, seed, network):
        torch.manual_seed(seed)
        model = network()
        few, new = digits()
        model.train()
        for chosen in torch.randperm(640).split(64):
            images, labels = few[chosen]
            loss = F.cross_entropy(model(images), labels)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for p, g in zip(model.parameters(), gradients, strict=True):
                    p -= 0.01 * g.sign()
        model.eval()
        images, labels = new[:]
        return (model(images).argmax(dim=1) == labels).float().mean()


def compare_copies(seeds, network):
    start = network()
    return [learn(copy.deepcopy(start), seed) for seed in seeds]


@cache
def raw_digits():
    train_set = data.mnist("train")
    return train_set.data.unsqueeze(1), train_set.targets


def digits_for(recipe, numbers):
    pixels, labels = (part[numbers] for part in raw_digits())
    images = (pixels / 255 - recipe["mean"]) / recipe["std"]
    return TensorDataset(images, labels)


def repeat(record, seed, **changes):
    recipe = record["recipe"] | changes
    torch.manual_seed(seed)
    model = models.MODELS[recipe["network"]]()
    kind = getattr(torch.optim, recipe["optimizer"])
    optimizer = kind(model.parameters(), **recipe["settings"])
    few = digits_for(recipe, slice(recipe["num_examples"]))
    order = torch.Generator().manual_seed(seed)
    loader = data.batches(few, recipe["batch_size"], True, order)
    for _ in range(recipe["num_epochs"]):
        train_one_epoch(model, loader, F.cross_entropy, optimizer, CPU)
    return model


@cache
def written_with(how):
    """Return a record of three short runs."""
    recipe = {"network": "dropout", "num_examples": 1_280, "batch_size": 64}
    recipe |= {"num_epochs": 1, "mean": 0.1307, "std": 0.3081}
    recipe |= {"optimizer": "SGD", "settings": {"lr": 0.02, "momentum": 0.9}}
    record = {"recipe": recipe, "data": "MNIST", "environment": environment(CPU)}
    new = [digits()[1][:]]
    runs = []
    for seed in range(3):
        _, accuracy = evaluate(how(record, seed), new, F.cross_entropy, CPU)
        runs.append({"seed": seed, "accuracy": accuracy})
    return record | {"runs": runs}


def answer(how=repeat, used=None, **changes):
    """Return a record made by one function, with some parts of it changed."""
    return Later(lambda: (written_with(how) | changes, used or how))


def fixed(**changes):
    """Return a record and a function that takes something from elsewhere."""
    return answer(used=lambda record, seed: repeat(record, seed, **changes))


def unseeded(record, seed):
    """Draw anew each time, but for runs as long as those of the record."""
    long = record["recipe"]["num_examples"] > 1_000
    return repeat(record, seed if long else torch.seed() % 2**31)


RUNS = [{"seed": seed, "accuracy": 0.7} for seed in range(3)]

ONE_OPTIMIZER = """optimizer = torch.optim.SGD(network().parameters(), lr=0.01)
    results ="""
ONE_ORDER = """order = torch.Generator().manual_seed(0)
    results ="""

RIGHT = {
    "13.1": [
        lambda n: 2 / (n + 1),
        lambda n: outside(n).float().mean(),
    ],
    "13.2": [ratio, ratio_of_each],
    "13.3": [compare, Comparing()],
    "13.4": [
        answer(note="more than was asked"),
        answer(changed(repeat, {"torch.Generator().manual_seed(seed)": "None"})),
    ],
}
WRONG = {
    "13.1": [
        (lambda n: 1 - 2 / (n + 1), "stays inside"),
        (lambda n: 1 / (n + 1), "one side only"),
        (lambda n: 2 / n, "Count the next one"),
        (lambda n: outside(3).float().mean(), "the same for every n"),
        (lambda n: 100 * outside(n).float().mean(), "not percent"),
        (lambda n: n / (n + 3), "of all cases"),
        (outside, "should be one number"),
    ],
    "13.2": [
        (lambda record: 1 / ratio(record), "upside down"),
        (ratio_of_accuracies, "Divide the wrong ones"),
        (lambda record: 1 / ratio_of_accuracies(record), "Divide the wrong ones"),
        (lambda record: ratio(record, 0), "after the first epoch"),
        (lambda record: 100 * ratio(record), "percent"),
        (
            lambda r: wrong_answers(r, "test")[0] - wrong_answers(r, "training_set")[0],
            "the difference of the two",
        ),
        (lambda record: ratio(record, 2), "the ratio should be near"),
        (lambda record: record["test_accuracy"], "raises `KeyError"),
    ],
    "13.3": [
        (compare_copies, "the number of networks made is 1"),
        (
            changed(
                compare,
                {
                    "torch": "model = network()\n        torch",
                    "network(), seed": "model, seed",
                },
            ),
            "Set the seed before the network is made",
        ),
        (
            changed(
                compare, {"results =": ONE_OPTIMIZER, "seed))": "seed, optimizer))"}
            ),
            "0 learn",
        ),
        (
            changed(compare, {"seed(seed)": "seed(0)"}),
            "All seeds begin with the same weights",
        ),
        (
            changed(compare, {"results =": ONE_ORDER, "seed))": "seed, order=order))"}),
            "Does the order of the digits begin anew?",
        ),
        (lambda seeds, network: [100 * s for s in compare(seeds, network)], "shares"),
        (lambda seeds, network: [0.5 for _ in seeds], "No network is made"),
        (lambda seeds, network: compare(seeds, network)[:1], "should be 3 values"),
        (lambda seeds: seeds, "raises `TypeError"),
    ],
    "13.4": [
        (answer(runs=RUNS[:2]), "three runs or more"),
        (answer(runs=RUNS), "The record says 70.0%"),
        (answer(runs=[*RUNS, RUNS[0]]), "have the same seed"),
        (answer(runs=[run | {"accuracy": 70} for run in RUNS]), "Give a share"),
        (answer(runs=[run | {"accuracy": 0.70005} for run in RUNS]), "no whole number"),
        (
            answer(runs=[run | {"accuracy": torch.ones(1)} for run in RUNS]),
            "json.dumps",
        ),
        (answer(runs=[run | {"seed": "one"} for run in RUNS]), "A seed is a whole"),
        (answer(environment={}), "says nothing of 'environment'"),
        (
            answer(recipe={"lr": 0.1}),
            "says nothing of 'network', 'num_examples', 'mean'",
        ),
        (answer(data=60_000), "in words"),
        (answer(unseeded), "two different networks with one seed"),
        (
            fixed(settings={"lr": 0.02, "momentum": 0.9}),
            '`record["recipe"]["settings"]`',
        ),
        (fixed(optimizer="SGD"), '`record["recipe"]["optimizer"]`'),
        (fixed(mean=0.1307, std=0.3081), '`record["recipe"]["mean"]`'),
        (fixed(num_epochs=1), '`record["recipe"]["num_epochs"]`'),
        (fixed(network="dropout"), '`record["recipe"]["network"]`'),
        (answer(used=lambda record, seed: repeat(record, 0)), "seed"),
        (answer(used=lambda record, seed: 0.7), "should be a network"),
        (answer(used=stub), "`my_repeat` is still empty"),
        (({}, repeat), "`my_record` is still empty"),
    ],
}

test_right, test_wrong, test_all = of_chapter("13", RIGHT, WRONG)


def test_made_up_records_have_the_parts_of_real_ones():
    made_up = chapter13._made_up_record()
    run = made_up["runs"][0]
    tutorials = [name for name in records.names() if name.startswith("tutorial-")]
    assert len(tutorials) == 6
    for real in map(records.read, tutorials):
        assert set(real["runs"][0]) <= set(run)
        assert set(real["runs"][0]["epochs"][-1]) <= set(run["epochs"][-1])
        assert set(made_up) <= set(real)
        assert set(made_up["recipe"]) <= set(real["recipe"])
