"""Evaluation, against counting by hand."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import evaluation

CPU = torch.device("cpu")


@pytest.fixture
def dataset():
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(103, 6, generator=generator),
        torch.randint(0, 4, (103,), generator=generator),
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4)
    )


def test_evaluate_equals_one_pass_over_everything(model, dataset):
    """Also where the last batch is smaller: 103 = 10 * 10 + 3."""
    loss_fn = nn.CrossEntropyLoss()
    loss, accuracy = evaluation.evaluate(model, DataLoader(dataset, 10), loss_fn, CPU)
    model.eval()
    logits = model(dataset.tensors[0])
    assert loss == pytest.approx(loss_fn(logits, dataset.tensors[1]).item(), rel=1e-6)
    right = sum(
        int(a == b) for a, b in zip(logits.argmax(1), dataset.tensors[1], strict=True)
    )
    assert accuracy == right / 103


@pytest.mark.parametrize("training", [True, False])
def test_measuring_changes_nothing(model, dataset, training):
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loader = DataLoader(dataset, 10)
    evaluation.evaluate(model, loader, nn.CrossEntropyLoss(), CPU)
    logits, _ = evaluation.predict(model, loader, CPU)
    assert model.training is training
    assert not logits.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_predict_keeps_pairs_together_under_shuffling(model, dataset):
    loader = DataLoader(dataset, 10, shuffle=True)
    logits, labels = evaluation.predict(model, loader, CPU)
    _, accuracy = evaluation.evaluate(
        model, DataLoader(dataset, 10), nn.CrossEntropyLoss(), CPU
    )
    assert (logits.argmax(1) == labels).double().mean().item() == accuracy
    assert logits.shape == (103, 4)


@pytest.mark.parametrize("function", ["evaluate", "predict"])
def test_empty_loader_is_refused(model, function):
    arguments = [nn.CrossEntropyLoss(), CPU] if function == "evaluate" else [CPU]
    with pytest.raises(ValueError, match="no batches"):
        getattr(evaluation, function)(model, [], *arguments)


def test_confusion_matrix_by_counting():
    predictions = torch.tensor([0, 1, 2, 2, 1, 1])
    labels = torch.tensor([0, 1, 1, 2, 0, 1])
    matrix = evaluation.confusion_matrix(predictions, labels, 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 1]]
    bytes_ = torch.tensor([3, 99], dtype=torch.uint8)
    assert evaluation.confusion_matrix(bytes_, bytes_, 100)[99, 99] == 1
    generator = torch.Generator().manual_seed(0)
    predictions, labels = torch.randint(0, 10, (2, 1000), generator=generator)
    matrix = evaluation.confusion_matrix(predictions, labels)
    for true in range(10):
        for guess in range(10):
            both = (labels == true) & (predictions == guess)
            assert matrix[true, guess] == both.sum()


def test_accuracy_per_class():
    matrix = torch.tensor([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    accuracy = evaluation.accuracy_per_class(matrix)
    assert accuracy[0] == 0.75
    assert accuracy[1].isnan(), "no example of this class"
    assert accuracy[2] == 0.5


def test_confusion_matrix_refuses_bad_input():
    right = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        evaluation.confusion_matrix(right, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="shape"):
        evaluation.confusion_matrix(torch.zeros(2, 10), torch.zeros(2, 10))
    with pytest.raises(ValueError, match="labels must lie between 0 and 9"):
        evaluation.confusion_matrix(right, torch.tensor([0, 10]))
    with pytest.raises(ValueError, match="whole numbers"):
        evaluation.confusion_matrix(torch.tensor([0.9, 1.7]), right)
    with pytest.raises(ValueError, match="predictions must lie"):
        evaluation.confusion_matrix(torch.tensor([-1, 0]), right)
