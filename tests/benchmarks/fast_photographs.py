"""A recipe for CIFAR-10 that fits itself to the machine.

The network and most of the recipe are those of Keller Jordan's airbench94
(https://arxiv.org/abs/2404.00498), which is made for a GPU. `choose_plan` measures
whether the processor is much faster with bfloat16 than with float32; where it is not,
the network is narrower and sees smaller pieces of the pictures, the smallest first.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from helpers.device import time_calls

PEAK_RATE = 1.5 / 1024  # for a loss that is the sum over a batch, not its mean


@dataclass(frozen=True)
class Plan:
    """What depends on how fast the machine is."""

    dtype: torch.dtype
    widths: tuple[int, int, int]
    border: int  # pixels added on each side before a piece is cut out
    sides: tuple[int, ...]  # of that piece, in each epoch
    batch_size: int = 500


NARROW = Plan(torch.float32, (32, 96, 128), border=0, sides=(24,) * 8 + (28,) * 4)
WIDE = Plan(torch.bfloat16, (64, 256, 256), border=2, sides=(32,) * 11)
ON_A_GPU = replace(WIDE, sides=(32,) * 16, batch_size=1_000)


def choose_plan(device: torch.device) -> tuple[Plan, dict[str, float]]:
    """Return the plan for a machine, and the pictures a second that decided it."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        return replace(ON_A_GPU, dtype=torch.float16), {}
    if device.type != "cpu":
        return ON_A_GPU, {}
    speeds = {
        str(plan.dtype).removeprefix("torch."): pictures_per_second(plan.dtype)
        for plan in (NARROW, WIDE)
    }
    fast_bfloat16 = speeds["bfloat16"] > 1.5 * speeds["float32"]
    return WIDE if fast_bfloat16 else NARROW, speeds


def pictures_per_second(dtype: torch.dtype) -> float:
    """Measure training steps of one group of convolutions on the CPU."""
    images, labels = torch.randn(100, 24, 30, 30), torch.zeros(100, dtype=torch.int64)
    model = nn.Sequential(
        ConvGroup(24, 64), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    ).to(memory_format=torch.channels_last)
    optimizer = SGD(model.parameters(), lr=0.001)

    def step() -> None:
        train_step(model, images, labels, dtype, optimizer)

    return 100 / statistics.median(time_calls(step, torch.device("cpu"), 1, 3))


class ConvGroup(nn.Module):
    """Two convolutions, the first followed by pooling, both by batch norm."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out, momentum=0.4)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out, momentum=0.4)
        for conv in (self.conv1, self.conv2):  # as many channels as fit pass as is
            nn.init.dirac_(conv.weight[: conv.in_channels].detach())
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class QuickNet(nn.Module):
    """Whitened patches, three groups of convolutions, one linear layer.

    Input (batch, 3, side, side) with a side from 20 to 34, output (batch, 10).
    """

    def __init__(self, widths: tuple[int, int, int], pictures: Tensor) -> None:
        super().__init__()
        first, second, third = widths
        self.whiten = nn.Conv2d(3, 24, kernel_size=2)
        self.whiten.weight = nn.Parameter(whitening(pictures), requires_grad=False)
        self.groups = nn.Sequential(
            ConvGroup(24, first), ConvGroup(first, second), ConvGroup(second, third)
        )
        self.fc = nn.Linear(third, 10, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.groups(F.gelu(self.whiten(images)))
        return self.fc(x.amax(dim=(2, 3))) / 9


def whitening(images: Tensor) -> Tensor:
    """Return 24 filters, 2x2, whose outputs are uncorrelated, each twice: + and -."""
    patches = F.unfold(images.float(), kernel_size=2).transpose(1, 2).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T).cpu())
    filters = (vectors / (values + 5e-4).sqrt()).T.flip(0).reshape(12, 3, 2, 2)
    return torch.cat([filters, -filters])


def pieces(images: Tensor, side: int) -> Tensor:
    """Cut a piece out of each picture, at a place of its own."""
    batch, _, height, width = images.shape
    spots = torch.arange(side, device=images.device)
    rows = torch.randint(height - side + 1, (batch, 1), device=images.device) + spots
    columns = torch.randint(width - side + 1, (batch, 1), device=images.device) + spots
    chosen = torch.arange(batch, device=images.device).view(-1, 1, 1)
    # Indexing puts the channels last in memory: (batch, height, width, channels).
    cut = images.permute(0, 2, 3, 1)[chosen, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def epochs_of(images: Tensor, labels: Tensor, plan: Plan) -> Iterator[Iterator]:
    """Yield an iterator of batches for each epoch; mirror all in every other one."""
    images = F.pad(images, [plan.border] * 4, mode="reflect")
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    for side in plan.sides:
        images = images.flip(3)
        order = torch.randperm(len(images), device=images.device)
        order = order[: len(order) // plan.batch_size * plan.batch_size]
        yield (
            (pieces(images[chosen], side), labels[chosen])
            for chosen in order.split(plan.batch_size)
        )


def make_optimizer(model: QuickNet, batch_size: int) -> SGD:
    """Return SGD in which the biases of the normalization learn 64 times as fast."""
    decay = 2e-3 * batch_size / 1024  # of each weight, in one step at the peak rate
    biases, others = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (biases if "norm" in name else others).append(parameter)
    groups = [
        {"params": parameters, "lr": lr, "weight_decay": decay / lr}
        for parameters, lr in [(biases, 64 * PEAK_RATE), (others, PEAK_RATE)]
    ]
    return SGD(groups, momentum=0.85, nesterov=True)


def triangle(done: float) -> float:
    """Return the rate as a share of its peak, when a share `done` of the run is."""
    if done < 0.23:
        return 0.2 + 0.8 * done / 0.23
    return 1 - 0.93 * (done - 0.23) / 0.77


def look_ahead(model: nn.Module, slow: dict[str, Tensor], inertia: float) -> None:
    """Pull the slow weights after the model's, and set the model back to them."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            slow[name].lerp_(value, 1 - inertia)
            value.copy_(slow[name])


def train(
    images: Tensor,
    labels: Tensor,
    plan: Plan,
    seed: int,
    after_epoch: Callable[[int, float, float], None],
) -> QuickNet:
    """Train a `QuickNet` on normalized pictures, which lie on the device to use.

    ``after_epoch`` gets the epoch, its mean loss and its accuracy.
    """
    torch.manual_seed(seed)
    model = QuickNet(plan.widths, images[:5_000])
    model.to(images.device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, plan.batch_size)
    steps = len(images) // plan.batch_size * len(plan.sides)
    schedule = LambdaLR(optimizer, lambda step: triangle(step / steps))
    slow = {name: value.clone() for name, value in model.state_dict().items()}
    for epoch, batches in enumerate(epochs_of(images, labels, plan), start=1):
        model.whiten.bias.requires_grad_(epoch <= 3)
        total_loss = correct = 0
        for pictures, answers in batches:
            loss, right = train_step(model, pictures, answers, plan.dtype, optimizer)
            total_loss, correct = total_loss + loss, correct + right
            schedule.step()
            if schedule.last_epoch % 5 == 0:
                look_ahead(model, slow, 0.95**5 * (schedule.last_epoch / steps) ** 3)
        seen = steps // len(plan.sides) * plan.batch_size
        after_epoch(epoch, float(total_loss) / seen, float(correct) / seen)
    look_ahead(model, slow, 1.0)
    return model


def train_step(
    model: nn.Module, images: Tensor, labels: Tensor, dtype: torch.dtype, optimizer: SGD
) -> tuple[Tensor, Tensor]:
    """Take one step; return the batch's summed loss and its right answers."""
    half = dtype != torch.float32
    with torch.autocast(images.device.type, dtype, enabled=half):
        logits = model(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.2, reduction="sum")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach(), (logits.argmax(dim=1) == labels).sum()


def views(images: Tensor) -> Iterator[Tensor]:
    """Yield the pictures cut to each corner, 2 pixels smaller, and those mirrored."""
    side = images.shape[-1] - 2
    for top, left in itertools.product((0, 2), repeat=2):
        corner = images[:, :, top : top + side, left : left + side]
        yield corner
        yield corner.flip(3)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, plan: Plan) -> Tensor:
    """Return the mean logits of the eight `views` of each picture."""
    model.eval()
    half = plan.dtype != torch.float32
    images = F.pad(images, [plan.border // 2] * 4, mode="reflect")
    with torch.autocast(images.device.type, plan.dtype, enabled=half):
        logits = [
            torch.cat([model(part) for part in view.split(1_000)])
            for view in views(images)
        ]
    return torch.stack(logits).float().mean(dim=0)
