"""Trained networks for the chapters: trained once, kept, and never wrong."""

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from book_files import definitions
from browser import missing
from saved_runs import CONTEXT, few_test_digits, flatten
from saved_runs import _server as _server
from torch import nn
from torch.optim.lr_scheduler import LinearLR

from helpers import checkpoint, data, pretrained
from helpers.models import MODELS
from helpers.randomness import random_state, restore_random_state
from helpers.recipe import Recipe
from helpers.training import fit

TINY = Recipe(model="small-padded", epochs=1, limit=64, validation=40, seed=3)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and one quick recipe."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(folder))
    monkeypatch.setitem(pretrained.RECIPES, "tiny", TINY)
    monkeypatch.setattr(data, "mnist", few_test_digits)  # unpacked once
    return folder


def files(cache: Path) -> list[Path]:
    return sorted((cache / "trained").glob("*.pt"))


def ask(folder: Path, log: Path) -> None:
    os.environ["PYTORCH_BY_HAND_CACHE"] = str(folder)
    pretrained.RECIPES["tiny"] = TINY
    data.mnist = few_test_digits
    model, _ = pretrained.trained_model("tiny")
    log.write_text(repr(flatten(model.state_dict())))


def test_trained_once_by_the_recipe_and_loaded_again(cache):
    before = random_state()
    first, history = pretrained.trained_model("tiny")
    written = files(cache)[0].stat().st_mtime_ns
    again, same_history = pretrained.trained_model("tiny")
    assert flatten(random_state()) == flatten(before)
    assert files(cache)[0].stat().st_mtime_ns == written
    assert flatten(again.state_dict()) == flatten(first.state_dict())
    assert same_history == history
    assert [row["epoch"] for row in history["epochs"]] == [0, 1]
    assert not first.training
    assert not again.training


def test_the_first_weights_are_those_of_the_seed(cache, monkeypatch):
    untrained = Recipe(model="dropout", epochs=0, limit=64, validation=40, seed=3)
    monkeypatch.setitem(pretrained.RECIPES, "tiny", untrained)
    model, history = pretrained.trained_model("tiny")
    before = random_state()
    torch.manual_seed(3)
    expected = MODELS["dropout"]()
    restore_random_state(before)
    assert flatten(model.state_dict()) == flatten(expected.state_dict())
    assert history["steps"] == []


def shown_by_chapter_7() -> dict:
    """Return what chapter 7 defines to vary the digits, from its own code cells."""
    changes = "with_upstrokes", "with_other_strokes", "turned", "blurred"
    wanted = "one_of", "between", *changes, "vary", "Augmented"
    return definitions("07", *wanted, torch=torch, F=nn.functional, data=data)


def test_varied_digits_give_the_weights_of_chapter_7_to_the_bit(cache, monkeypatch):
    for name in ("dropout", "varied"):
        short = replace(pretrained.RECIPES[name], epochs=2, limit=320, validation=40)
        monkeypatch.setitem(pretrained.RECIPES, name, short)
    varied, history = pretrained.trained_model("varied")

    chapter = shown_by_chapter_7()
    digits, held_back = short.digits()
    order = torch.Generator().manual_seed(0)
    loader = data.batches(digits, 64, shuffle=True, generator=order)
    before = random_state()
    torch.manual_seed(0)
    network = MODELS["dropout"]()  # draws first weights, and leaves them
    network.load_state_dict(pretrained.trained_model("dropout")[0].state_dict())
    network.conv2_drop.p = network.fc1_drop.p = 0
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    schedule = LinearLR(optimizer, 1, end_factor=0, total_iters=2 * len(loader))
    expected = fit(
        network,
        chapter["Augmented"](loader, chapter["vary"]),
        data.batches(held_back, 1_000),
        nn.CrossEntropyLoss(),
        optimizer,
        torch.device("cpu"),
        2,
        lambda *_: schedule.step(),
    )
    restore_random_state(before)
    assert flatten(varied.state_dict()) == flatten(network.state_dict())
    assert history == expected
    assert len(files(cache)) == 2
    assert varied.fc1_drop.p == 0.5


def test_what_decides_the_weights_decides_the_file(cache, monkeypatch):
    pretrained.trained_model("tiny")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.0")
        pretrained.trained_model("tiny")
    monkeypatch.setitem(pretrained.RECIPES, "tiny", replace(TINY, seed=4))
    pretrained.trained_model("tiny")
    assert len(files(cache)) == 3
    # Of a network that another one may go on with.
    monkeypatch.setitem(pretrained.RECIPES, "other", replace(TINY, lr=0.02))
    pretrained.trained_model("tiny")
    assert len(files(cache)) == 4


def test_several_processes_at_once_train_once(cache, tmp_path):
    logs = [tmp_path / f"log-{index}" for index in range(3)]
    children = [CONTEXT.Process(target=ask, args=(cache, log)) for log in logs]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0] * 3
    assert len({log.read_text() for log in logs}) == 1
    assert len(files(cache)) == 1


def test_killed_while_training(cache, tmp_path):
    child = CONTEXT.Process(target=ask, args=(cache, tmp_path / "log"))
    child.start()
    while not list((cache / "trained").glob("*.lock")):
        assert child.is_alive()
        time.sleep(0.001)
    child.kill()
    child.join()
    assert files(cache) == []
    first, _ = pretrained.trained_model("tiny")
    path = files(cache)[0]
    path.rename(f"{path}.0123abcd.partial")  # as if killed before the last step
    again, _ = pretrained.trained_model("tiny")
    assert flatten(again.state_dict()) == flatten(first.state_dict())
    assert files(cache) == [path]
    assert not list(path.parent.glob("*.partial"))


def test_a_damaged_cache_file_is_trained_anew(cache):
    first, _ = pretrained.trained_model("tiny")
    (path,) = files(cache)
    content, middle = path.read_bytes(), path.stat().st_size // 2
    checkpoint.write({"model": MODELS["dropout"]().state_dict()}, path)
    for damaged in (
        path.read_bytes(),  # another network's
        content[:-100],
        content[:middle] + b"\1\2\3" + content[middle + 3 :],
        b"",
        b"PK\x03\x04" + bytes(100),
    ):
        path.write_bytes(damaged)
        again, _ = pretrained.trained_model("tiny")
        assert flatten(again.state_dict()) == flatten(first.state_dict())
        assert checkpoint.read(path).keys() == {"model", "history"}


def test_what_is_refused(tmp_path, monkeypatch):
    refusal = "must be one of dropout, varied.*not 'resnet'"
    with pytest.raises(ValueError, match=refusal):
        pretrained.trained_model("resnet")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(tmp_path / "file"))
    with pytest.raises(data.DataError, match="PYTORCH_BY_HAND_CACHE"):
        pretrained.trained_model()


def test_the_varied_network_reads_the_soft_digits_of_others():
    """Other people's digits, 8 by 8 pixels, that no recipe has seen."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        missing("scikit-learn: pip install -e '.[dev]'")
    digits = load_digits()
    pictures, labels = digits.images[::16], torch.tensor(digits.target[::16])
    soft = torch.tensor(pictures, dtype=torch.float32)[:, None] / 16
    soft = F.interpolate(F.pad(soft, (2, 2, 2, 2)), scale_factor=20, mode="bilinear")
    prepared, known = [], []
    for picture, label in zip(soft, labels, strict=True):
        with contextlib.suppress(ValueError):  # a few are refused, and count as unread
            prepared.append(data.prepare_digit(picture[0]))
            known.append(label)
    images = (torch.stack(prepared) - data.MNIST_MEAN) / data.MNIST_STD
    read = {}
    for name in ("dropout", "varied"):
        model, _ = pretrained.trained_model(name)
        with torch.no_grad():
            answers = model(images).argmax(dim=1)
        read[name] = (answers == torch.stack(known)).sum().item() / len(labels)
    assert read["varied"] > 0.9, read
    assert read["varied"] > read["dropout"], read
