"""Reproducing the source tutorials: resumable, and its figures counted right."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import reproduce
import torch
from book_files import ROOT
from torch.utils.data import Subset

from helpers import data, evaluation
from helpers.records import read

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tensors():
    train = data.to_tensors(Subset(data.mnist("train"), range(256)))
    test = data.to_tensors(Subset(data.mnist("test"), range(300)))
    return train, test


@pytest.fixture
def tiny(monkeypatch):
    recipe = reproduce.Tutorial(
        title="tiny",
        model="dropout",
        batch_size=64,
        num_epochs=3,
        optimizer="SGD",
        lr=0.1,
        log_every=2,
    )
    monkeypatch.setitem(reproduce.RECIPES, "tiny", recipe)
    return recipe


def test_run_that_was_stopped_ends_as_an_unbroken_one(
    tiny, tensors, tmp_path, monkeypatch
):
    whole = reproduce.run("tiny", 0, CPU, tmp_path / "whole", tensors, "MNIST")

    train = reproduce.train_one_epoch
    calls = []

    def stop_in_the_second_epoch(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(reproduce, "train_one_epoch", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        reproduce.run("tiny", 0, CPU, tmp_path / "broken", tensors, "MNIST")
    monkeypatch.setattr(reproduce, "train_one_epoch", train)
    resumed = reproduce.run("tiny", 0, CPU, tmp_path / "broken", tensors, "MNIST")
    assert resumed | {"load": whole["load"]} == whole
    assert len(whole["epochs"]) == 3
    assert len(whole["loss_log"]) == 3 * 2
    on_training_set = ["training_set_accuracy" in row for row in whole["epochs"]]
    assert on_training_set == [False, False, True]


def test_a_run_of_another_recipe_is_not_taken_up(tiny, tensors, tmp_path, monkeypatch):
    record = reproduce.run("tiny", 0, CPU, tmp_path / "runs", tensors, "MNIST")
    reproduce.write_record("tiny", record | {"seed": 2}, "other digits", tmp_path)
    with pytest.raises(SystemExit, match="other data"):
        reproduce.run("tiny", 0, CPU, tmp_path / "runs", tensors, "other digits")
    path = reproduce.write_record("tiny", record, "MNIST", tmp_path)
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [0]
    other = dataclasses.replace(tiny, lr=0.5)
    monkeypatch.setitem(reproduce.RECIPES, "tiny", other)
    with pytest.raises(SystemExit, match="another recipe"):
        reproduce.run("tiny", 0, CPU, tmp_path / "runs", tensors, "MNIST")
    path = reproduce.write_record("tiny", record | {"seed": 1}, "MNIST", tmp_path)
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [1]


def test_class_accuracies(tiny, tensors):
    model, _ = reproduce.build(tiny, 0, CPU)
    every, first_ten = reproduce.class_accuracies(model, tensors[1], tiny, CPU)
    logits, labels = evaluation.predict(model, data.batches(tensors[1], 300), CPU)
    right = logits.argmax(1) == labels
    for digit in range(10):
        assert every[digit] == pytest.approx(right[labels == digit].double().mean())
    chosen = [i for start in range(0, 300, 64) for i in range(start, start + 10)]
    chosen = [i for i in chosen if i < 300]
    ones = [i for i in chosen if labels[i] == 1]
    assert first_ten[1] == pytest.approx(right[ones].double().mean().item())


def test_losses_are_averaged_within_epochs():
    losses = [float(n) for n in range(10)]
    assert reproduce.means_of_runs(losses, epoch=5, run=2) == [0.5, 2.5, 5.5, 7.5]


@pytest.mark.parametrize("name", reproduce.RECIPES)
def test_recipes_build(name):
    recipe = reproduce.RECIPES[name]
    model, optimizer = reproduce.build(recipe, 0, CPU)
    assert type(optimizer).__name__ == recipe.optimizer
    assert optimizer.param_groups[0]["lr"] == recipe.lr
    shape = (3, 32, 32) if recipe.model == "photo" else (1, 28, 28)
    output = model(torch.randn(2, *shape))
    sums = output.exp().sum(1) if not recipe.softmax else output.sum(1)
    is_distribution = torch.allclose(sums, torch.ones(2))
    assert is_distribution is recipe.softmax


@pytest.mark.parametrize("name", reproduce.RECIPES)
def test_the_plain_command_makes_the_records_as_they_are(name):
    seeds = [run["seed"] for run in read(f"tutorial-{name}")["runs"]]
    assert seeds == list(range(reproduce.NUM_SEEDS[name]))


def test_photographs_are_not_replaced_by_a_stand_in(tmp_path, monkeypatch, capsys):
    tensors = (None, None, "stand-in: drawn shapes")
    monkeypatch.setattr(reproduce, "load_data", lambda recipe: tensors)
    assert reproduce.main(["003", "--out", str(tmp_path)]) == 0
    assert "skipped" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["005"], ["000", "--device", "gpu"]])
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        reproduce.main(arguments)
    assert arguments[-1] in capsys.readouterr().err


def test_without_a_home_folder(monkeypatch, capsys):
    def none():
        raise data.DataError("no home folder")

    monkeypatch.setattr(data, "cache_folder", none)
    for words, status in ((["--help"], "0"), (["000"], "2")):
        with pytest.raises(SystemExit, match=status):
            reproduce.main(words)
    assert "error: no home folder" in capsys.readouterr().err


def test_help_is_shown_in_any_encoding_and_without_a_home():
    """Of the three programs, in one process, which has to import torch only once."""
    program = (
        "def unknown(uid): raise KeyError(uid)\n"
        "import pwd; pwd.getpwuid = unknown\n"
        * (os.name == "posix")
        + "import contextlib, runpy, sys; sys.argv = ['program', '--help']\n"
        "for name in ('reproduce.py', 'run.py', 'gpu.py'):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        runpy.run_path(name, run_name='__main__')"
    )
    no_home = ("HOME", "PYTORCH_BY_HAND_CACHE", "XDG_CACHE_HOME")
    environment = {k: v for k, v in os.environ.items() if k not in no_home}
    shown = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "tests" / "benchmarks",
        env=environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert shown.stderr == ""
    assert shown.stdout.count("usage: ") == 3


@pytest.fixture
def command(tiny, tensors, tmp_path, monkeypatch):
    """Run the command line on few digits; return its status."""

    def run(*arguments):
        monkeypatch.setattr(reproduce, "load_data", lambda _: (*tensors, "MNIST"))
        folders = ["--out", tmp_path / "out", "--runs", tmp_path / "runs"]
        options = ["--device", "cpu", *folders, *arguments]
        return reproduce.main([str(option) for option in options])

    return run


def test_the_command_writes_a_record_for_each_seed(command, tiny, tmp_path, capsys):
    """The training set is measured after each epoch where a tutorial does that."""
    tiny.claim["accuracy_on_the_training_set"] = [98.0, 99.0, 99.5]
    assert command("tiny", "--seeds", 1, 0, 1) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    content = json.loads(path.read_text())
    assert content["recipe"]["lr"] == 0.1
    assert content["parameters"] == 21_840
    assert content["program"].endswith("reproduce.py tiny")
    assert [run["seed"] for run in content["runs"]] == [0, 1]
    for run in content["runs"]:
        assert run["environment"]["torch"] == torch.__version__
        assert run["date"]
        assert len(run["epochs"]) == 3
        assert all(0 < row["training_set_accuracy"] <= 1 for row in run["epochs"])
    accuracy = run["epochs"][-1]["test_accuracy"]
    assert f"tiny seed 1: {accuracy:.2%} of the test set" in capsys.readouterr().out


def test_the_command_can_be_stopped(command, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "run", interrupted)
    assert command("tiny", "--seeds", 0) == 130
    assert "The same command goes on" in capsys.readouterr().out


def test_data_of_a_recipe(monkeypatch):
    shapes = data.Photographs(
        np.full((4, 32, 32, 3), 255, np.uint8), [3] * 4, ("a",) * 10, "drawn"
    )
    monkeypatch.setattr(data, "cifar10", lambda split: shapes)
    train, test, source = reproduce.load_data(reproduce.RECIPES["003"])
    assert (len(train), len(test), source) == (4, 4, "drawn")
    images, labels = train[:]
    assert tuple(images.shape) == (4, 3, 32, 32)
    assert labels.tolist() == [3] * 4
    digits = data.mnist("test")
    monkeypatch.setattr(data, "mnist", lambda split: Subset(digits, range(9)))
    train, test, source = reproduce.load_data(reproduce.RECIPES["000"])
    assert (len(train), len(test), source) == (9, 9, "MNIST")
