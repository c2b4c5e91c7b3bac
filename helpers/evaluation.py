"""Measuring a trained network: counts first, one division at the end."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Batches = Iterable[tuple[Tensor, Tensor]]
LossFunction = Callable[[Tensor, Tensor], Tensor]


def evaluate(
    model: nn.Module,
    loader: Batches,
    loss_fn: LossFunction,
    device: torch.device,
) -> tuple[float, float]:
    """Return the mean loss and the accuracy over everything in `loader`.

    The model is measured in evaluation mode and left in the mode it was in,
    all its parts alike.

    Parameters
    ----------
    model : nn.Module
        On `device`; returns logits of shape (batch, classes).
    loader : iterable of (images, labels)
        Batches may differ in size.
    loss_fn : callable
        Takes logits and labels and returns the batch's mean loss.
    device : torch.device
        Where the batches are sent.

    Returns
    -------
    (float, float)
        Mean loss per example, and the share of right answers in [0, 1].

    Raises
    ------
    ValueError
        If `loader` yields nothing.
    """
    was_training = model.training
    model.eval()
    total_loss, correct, seen = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            total_loss += loss_fn(logits, labels).item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()
            seen += len(labels)
    model.train(was_training)
    if seen == 0:
        raise ValueError("the loader yielded no batches, so there is nothing to score")
    return total_loss / seen, correct / seen


def predict(
    model: nn.Module, loader: Batches, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the logits and labels of everything in `loader`, in its order.

    Both come from one pass, so they belong together even if the loader
    shuffles. The model is left in the mode it was in.

    Returns
    -------
    (Tensor, Tensor)
        On the CPU: float logits of shape (n, classes), int64 labels (n,).
    """
    was_training = model.training
    model.eval()
    all_logits, all_labels = [], []
    with torch.no_grad():
        for images, labels in loader:
            all_logits.append(model(images.to(device)).cpu())
            all_labels.append(labels.cpu())
    model.train(was_training)
    if not all_logits:
        raise ValueError("the loader yielded no batches, so there is nothing to score")
    return torch.cat(all_logits), torch.cat(all_labels)


def confusion_matrix(
    predictions: Tensor, labels: Tensor, num_classes: int = 10
) -> Tensor:
    """Count how often each class was taken for each class.

    Parameters
    ----------
    predictions, labels : Tensor
        Integers of shape (n,), values in [0, `num_classes`).

    Returns
    -------
    Tensor
        int64 of shape (num_classes, num_classes). Row: the true class.
        Column: the predicted class.

    Raises
    ------
    ValueError
        If the shapes differ, or values are no integers or out of range.
    """
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ValueError(
            f"predictions and labels must both have shape (n,), not "
            f"{tuple(predictions.shape)} and {tuple(labels.shape)}"
        )
    for name, values in (("predictions", predictions), ("labels", labels)):
        if values.is_floating_point():
            raise ValueError(f"{name} must be whole numbers, not {values.dtype}")
        if len(values) and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"{name} must lie between 0 and {num_classes - 1}, but run from "
                f"{values.min().item()} to {values.max().item()}"
            )
    cells = labels.long() * num_classes + predictions.long()  # bytes would overflow
    counts = torch.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def accuracy_per_class(matrix: Tensor) -> Tensor:
    """Return the share of each class's examples that were recognized.

    Parameters
    ----------
    matrix : Tensor
        From `confusion_matrix`, shape (classes, classes).

    Returns
    -------
    Tensor
        float64 of shape (classes,); NaN for a class without examples.
    """
    return matrix.diagonal().double() / matrix.sum(dim=1)
