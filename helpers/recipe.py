"""What decides the weights of a network that is trained on the digits."""

from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import Subset, TensorDataset

from helpers import data
from helpers.models import MODELS

PHOTO_MODELS = ["photo", "residual"]  # take (batch, 3, 32, 32); see chapter 9
DIGIT_MODELS = [name for name in MODELS if name not in PHOTO_MODELS]
NUM_DIGITS = 60_000
LEARNING_RATES = {"sgd": 0.01, "adam": 0.001}


@dataclass(frozen=True)
class Recipe:
    """All that the trained weights depend on, beside the code and the machine.

    Attributes
    ----------
    model : str
        One of `DIGIT_MODELS`.
    epochs, batch_size : int
        Times through the training digits, and digits per step (in each process).
    optimizer : {"sgd", "adam"}
        With learning rate `lr`; `momentum` belongs to "sgd".
    seed : int
        Fixes the first weights, the order of the digits and the dropout.
    validation : int
        How many of the 60,000 digits are held back.
    limit : int, optional
        Train on that many of the others only.
    processes : int
        How many train together, each on its share of the digits.
    """

    model: str = "dropout"
    epochs: int = 3
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = LEARNING_RATES["sgd"]
    momentum: float = 0.9
    seed: int = 0
    validation: int = 5_000
    limit: int | None = None
    processes: int = 1

    def make_model(self) -> nn.Module:
        """Return the network; its first weights come from the global generator."""
        return MODELS[self.model]()

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        """Return the optimizer of the weights of a network."""
        if self.optimizer == "adam":
            return Adam(model.parameters(), lr=self.lr)
        return SGD(model.parameters(), lr=self.lr, momentum=self.momentum)

    def digits(self) -> tuple[TensorDataset, TensorDataset]:
        """Return the digits to train on and those to validate on, normalized."""
        mnist = data.mnist("train")
        train, validation = data.split_train_validation(mnist, self.validation)
        if self.limit is not None:
            train = Subset(train, range(self.limit))
        return data.to_tensors(train), data.to_tensors(validation)
