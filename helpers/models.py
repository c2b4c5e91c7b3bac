"""The networks of the book.

Every network returns logits: one raw score per class, of shape (batch, 10). The
loss function applies softmax itself (chapter 4).
"""

import torch.nn.functional as F
from torch import Tensor, nn


class PaddedNet(nn.Module):
    """Two padded 3x3 convolutions and three linear layers (tutorial 000).

    Input (batch, 1, 28, 28), output (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(64 * 7 * 7, 1024)
        self.fc2 = nn.Linear(1024, 512)
        self.fc3 = nn.Linear(512, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(start_dim=1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class DropoutNet(nn.Module):
    """The small network with dropout that the book trains (tutorial 001).

    Input (batch, 1, 28, 28), output (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d(p=0.5)
        self.fc1 = nn.Linear(20 * 4 * 4, 50)
        self.fc1_drop = nn.Dropout(p=0.5)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.flatten(start_dim=1)
        x = self.fc1_drop(F.relu(self.fc1(x)))
        return self.fc2(x)


class WideHeadNet(nn.Module):
    """A 5x5 and a 3x3 convolution, then a wide linear layer (tutorial 002).

    Input (batch, 1, 28, 28), output (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=3)
        self.fc1 = nn.Linear(20 * 10 * 10, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.relu(self.conv2(x))
        x = x.flatten(start_dim=1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class PhotoNet(nn.Module):
    """The small network for 32x32 color photographs (tutorial 003).

    Input (batch, 3, 32, 32), output (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(start_dim=1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class SmallPaddedNet(nn.Module):
    """`PaddedNet` with half the channels and smaller layers (tutorial 004).

    The tutorial ends its network with a softmax, which it should not
    (chapter 12); this one returns logits. Input (batch, 1, 28, 28), output
    (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 512)
        self.fc2 = nn.Linear(512, 128)
        self.fc3 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(start_dim=1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class FastNet(nn.Module):
    """Two convolutions and two linear layers, made for speed.

    It cuts off the outer two pixels at each edge, and its first convolution takes
    steps of two pixels, so that all that follows works on a quarter of the numbers.
    Normalization would take biases before it out again, so there are none.
    Input (batch, 1, 28, 28), output (batch, 10).
    """

    inside = slice(2, 26)  # the rows and columns that it looks at

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=6, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 24, kernel_size=3, bias=False)
        self.norm2 = nn.BatchNorm2d(24)
        self.fc1 = nn.Linear(24 * 4 * 4, 256, bias=False)
        self.norm3 = nn.BatchNorm1d(256)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = images[:, :, self.inside, self.inside]
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(F.max_pool2d(self.conv2(x), 2)))
        x = F.relu(self._normalize(self.fc1(x.flatten(start_dim=1))))
        return self.fc2(x)

    def _normalize(self, x: Tensor) -> Tensor:
        """Normalize by the batch; a batch of one has no variance of its own."""
        norm = self.norm3
        if len(x) > 1 or not self.training:
            return norm(x)
        past = norm.running_mean, norm.running_var
        return F.batch_norm(x, *past, norm.weight, norm.bias, training=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to what came in.

    Input and output (batch, channels, height, width). The idea is that of He,
    Zhang, Ren and Sun, https://arxiv.org/abs/1512.03385.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        change = F.relu(self.norm1(self.conv1(x)))
        change = self.norm2(self.conv2(change))
        return F.relu(x + change)


class ResidualNet(nn.Module):
    """The residual network for 32x32 color photographs.

    Three stages, each of which halves the sides, doubles the channels, and then
    refines the result in a `ResidualBlock`. Input (batch, 3, 32, 32), output
    (batch, 10).

    Parameters
    ----------
    width : int
        Channels before the first stage; 8 times as many after the third. The
        default suits two processor cores, 64 a GPU.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stage1 = self.make_stage(width, 2 * width)
        self.stage2 = self.make_stage(2 * width, 4 * width)
        self.stage3 = self.make_stage(4 * width, 8 * width)
        self.fc = nn.Linear(8 * width, 10)

    def make_stage(self, channels_in: int, channels_out: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            ResidualBlock(channels_out),
        )

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(images)))
        x = self.stage1(x)
        x = self.stage2(x)
        x = self.stage3(x)
        x = x.mean(dim=(2, 3))  # (batch, channels)
        return self.fc(x)


# The names that the command line and the tables of the book use.
TUTORIAL_MODELS: dict[str, type[nn.Module]] = {
    "padded": PaddedNet,
    "dropout": DropoutNet,
    "wide-head": WideHeadNet,
    "photo": PhotoNet,
    "small-padded": SmallPaddedNet,
}
MODELS: dict[str, type[nn.Module]] = {
    **TUTORIAL_MODELS,
    "fast": FastNet,
    "residual": ResidualNet,
}


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers training adjusts."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
