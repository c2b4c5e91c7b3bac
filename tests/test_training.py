"""The training loop: against plain PyTorch, and against chapter 5's own text."""

import pytest
import torch
from book_files import definitions
from torch import nn
from torch.utils.data import Subset

from helpers import data, training
from helpers.models import DropoutNet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return data.to_tensors(Subset(data.mnist("train"), range(500)))


def make(digits):
    """Return everything that one seeded run needs."""
    torch.manual_seed(0)
    model = DropoutNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = data.batches(digits, 64, True, torch.Generator().manual_seed(0))
    return model, loader, optimizer


def assert_same_weights(first, second):
    for (name, a), b in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_chapter_and_helper_give_the_same_weights_to_the_bit(digits):
    wanted = "train_one_epoch", "evaluate", "fit"
    chapter = definitions("05", *wanted, torch=torch, nn=nn)
    loss_fn = nn.CrossEntropyLoss()
    runs = []
    for fit in (chapter["fit"], training.fit):
        model, loader, optimizer = make(digits)
        validation = data.batches(digits, 200)
        history = fit(model, loader, validation, loss_fn, optimizer, CPU, 2)
        runs.append((model, history))
    assert_same_weights(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


def test_epoch_figures_count_before_dividing(digits):
    """500 = 7 * 64 + 52: the mean of batch means would be wrong."""
    steps = []
    model, loader, optimizer = make(digits)
    loss, accuracy = training.train_one_epoch(
        model, loader, nn.CrossEntropyLoss(), optimizer, CPU, lambda *s: steps.append(s)
    )
    assert [size for _, _, size in steps] == [64] * 7 + [52]
    assert accuracy == sum(correct for _, correct, _ in steps) / 500
    expected = sum(batch_loss * size for batch_loss, _, size in steps) / 500
    assert loss == pytest.approx(expected)


def test_fit_records_the_untrained_network_and_every_epoch(digits):
    model, loader, optimizer = make(digits)
    history = training.fit(
        model, loader, loader, nn.CrossEntropyLoss(), optimizer, CPU, num_epochs=3
    )
    epochs = history["epochs"]
    assert [row["epoch"] for row in epochs] == [0, 1, 2, 3]
    assert [row["examples"] for row in epochs] == [0, 500, 1000, 1500]
    assert epochs[0]["train_loss"] is None
    assert len(history["steps"]) == 3 * 8
    assert history["steps"][-1]["examples"] == 1500
    assert epochs[-1]["validation_loss"] < epochs[0]["validation_loss"]
    assert epochs[-1]["validation_accuracy"] > 0.5
    rows = [*epochs, *history["steps"]]
    kinds = {type(value) for row in rows for value in row.values()}
    assert kinds <= {int, float, type(None)}, "a tensor would keep its whole graph"


def test_an_empty_loader_explains_itself(digits):
    model, _, optimizer = make(digits)
    with pytest.raises(ValueError, match="yielded no batches"):
        training.train_one_epoch(model, [], nn.CrossEntropyLoss(), optimizer, CPU)
