"""The training loop that chapter 5 writes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from helpers.evaluation import Batches, LossFunction, evaluate

# What train_one_epoch tells its caller after each step: the batch's mean loss,
# its number of right answers, its number of examples.
AfterStep = Callable[[float, int, int], None]
Rows = list[dict[str, Any]]
History = dict[str, Rows]


def train_one_epoch(
    model: nn.Module,
    loader: Batches,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    device: torch.device,
    after_step: AfterStep | None = None,
    steps: Rows | None = None,
) -> tuple[float, float]:
    """Train on every batch of `loader` once.

    Parameters
    ----------
    model : nn.Module
        On `device`; returns logits of shape (batch, classes).
    loader : iterable of (images, labels)
        One epoch of batches.
    loss_fn : callable
        Takes logits and labels and returns the batch's mean loss.
    optimizer : Optimizer
        Made from `model.parameters()` after the model was moved to `device`.
    device : torch.device
        Where the batches are sent.
    after_step : callable, optional
        Called after each step with the batch's mean loss (float), its number of
        right answers (int) and its number of examples (int).
    steps : list, optional
        Gets a row for each step, ``{"examples", "loss"}``. ``examples`` counts the
        training examples seen so far, those of the rows already there included.

    Returns
    -------
    (float, float)
        Mean loss and accuracy over the epoch, as the network was while it
        learned: in training mode, and changing from batch to batch.

    Raises
    ------
    ValueError
        If `loader` yields nothing.
    """
    model.train()
    before = steps[-1]["examples"] if steps else 0
    total_loss, correct, seen = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)

        logits = model(images)  # 1. predict
        loss = loss_fn(logits, labels)  # 2. measure the error
        optimizer.zero_grad()  # 3. forget the old gradients
        loss.backward()  # 4. compute the new gradients
        optimizer.step()  # 5. adjust the parameters

        batch_loss = loss.item()
        batch_correct = (logits.argmax(dim=1) == labels).sum().item()
        total_loss += batch_loss * len(labels)
        correct += batch_correct
        seen += len(labels)
        if steps is not None:
            steps.append({"examples": before + seen, "loss": batch_loss})
        if after_step is not None:
            after_step(batch_loss, batch_correct, len(labels))
    if seen == 0:
        raise ValueError("the loader yielded no batches, so there is nothing to learn")
    return total_loss / seen, correct / seen


def fit(
    model: nn.Module,
    train_loader: Batches,
    validation_loader: Batches,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    device: torch.device,
    num_epochs: int,
    after_step: AfterStep | None = None,
) -> History:
    """Train for several epochs and record loss and accuracy.

    Returns
    -------
    dict
        ``history["steps"]`` has a row per training step, ``{"examples", "loss"}``.
        ``history["epochs"]`` has a row for the untrained network and one after
        each epoch: ``{"epoch", "examples", "train_loss", "train_accuracy",
        "validation_loss", "validation_accuracy"}``. ``examples`` counts the
        training examples seen so far. The untrained network has no training
        figures: they are None.
    """
    steps: Rows = []
    epochs: Rows = []
    train_loss = train_accuracy = None  # of an untrained network there are none
    for epoch in range(num_epochs + 1):
        if epoch > 0:
            train_loss, train_accuracy = train_one_epoch(
                model, train_loader, loss_fn, optimizer, device, after_step, steps
            )
        row = {"epoch": epoch, "examples": steps[-1]["examples"] if steps else 0}
        row |= {"train_loss": train_loss, "train_accuracy": train_accuracy}
        validation = evaluate(model, validation_loader, loss_fn, device)
        row["validation_loss"], row["validation_accuracy"] = validation
        epochs.append(row)
    return {"steps": steps, "epochs": epochs}
