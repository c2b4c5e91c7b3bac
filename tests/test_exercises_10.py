"""Answers to the exercises of chapter 10."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import of_chapter
from torch.utils.data import DataLoader, TensorDataset


def stub(*arguments):
    """Your code."""


def seconds(batch_size, of_1, of_16):
    each = (of_16 - of_1) / 15
    return max(of_1 - each, 0) + batch_size * each


def seconds_of_a_line(batch_size, of_1, of_16):
    return np.polyval(np.polyfit([1, 16], [of_1, of_16], 1), batch_size)


def seconds_solved(batch_size, of_1, of_16):
    sizes = torch.tensor([[1.0, 1.0], [1.0, 16.0]]).double()
    parts = torch.linalg.solve(sizes, torch.tensor([of_1, of_16]).double())
    return parts @ torch.tensor([1.0, batch_size]).double()


def parts_of(images, labels, num_parts):
    return zip(images.chunk(num_parts), labels.chunk(num_parts), strict=True)


def gather(model, images, labels, num_parts, forget=True, divide=True, inside=False):
    if forget:
        model.zero_grad()
    for some_images, some_labels in parts_of(images, labels, num_parts):
        if inside:
            model.zero_grad()
        loss = F.cross_entropy(model(some_images), some_labels)
        (loss / num_parts if divide else loss).backward()


class Gathering:
    """A class in place of a function: sums, and a division at the end."""

    def __call__(self, model, images, labels, num_parts):
        total = [torch.zeros_like(p) for p in model.parameters()]
        for some_images, some_labels in parts_of(images, labels, num_parts):
            logits = model.eval()(some_images)
            loss = F.cross_entropy(logits, some_labels, reduction="sum")
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            total = [t + g for t, g in zip(total, gradients, strict=True)]
        for p, t in zip(model.parameters(), total, strict=True):
            p.grad = t / len(images)


def gather_by_shares(model, images, labels, num_parts):
    for p in model.parameters():
        p.grad = None
    for some_images, some_labels in parts_of(images, labels, num_parts):
        log_probabilities = F.log_softmax(model(some_images), dim=1)
        loss = F.nll_loss(log_probabilities, some_labels)
        loss.backward(torch.tensor(len(some_labels) / len(labels), device=loss.device))


def gather_at_the_end(model, images, labels, num_parts):
    model.zero_grad()
    losses = [F.cross_entropy(model(i), k) for i, k in parts_of(images, labels, 4)]
    torch.stack(losses).mean().backward()


def gather_at_once(model, images, labels, num_parts):
    gather(model, images, labels, 1)


def gather_sums(model, images, labels, num_parts):
    model.zero_grad()
    for some_images, some_labels in parts_of(images, labels, num_parts):
        logits = model(some_images)
        F.cross_entropy(logits, some_labels, reduction="sum").backward()


def gather_by_split(model, images, labels, num_parts):
    model.zero_grad()
    for i, k in zip(images.split(num_parts), labels.split(num_parts), strict=True):
        (F.cross_entropy(model(i), k) / num_parts).backward()


def gather_and_step(model, *batch):
    gather(model, *batch)
    torch.optim.SGD(model.parameters(), lr=0.1).step()


class Batches:
    shuffled, last, one_order, at_once = True, True, False, True

    def __init__(self, dataset, batch_size, device):
        self.tensors = [t.to(device) for t in dataset.tensors]
        self.size, self.device = batch_size, device
        self.fixed = self.draw()

    def draw(self):
        n = len(self.tensors[0])
        if self.shuffled:
            return torch.randperm(n, device=self.device)
        return torch.arange(n, device=self.device)

    def __len__(self):
        return math.ceil(len(self.tensors[0]) / self.size)

    def __iter__(self):
        order = self.fixed if self.one_order else self.draw()
        for chosen in order.split(self.size):
            if len(chosen) == self.size or self.last:
                yield [t[chosen] for t in self.tensors]


def batches(dataset, batch_size, device):
    """A function that returns a loader; the order comes from NumPy."""
    images, labels = (t.to(device) for t in dataset.tensors)

    class Inner:
        def __len__(self):
            return -(-len(labels) // batch_size)

        def __iter__(self):
            order = np.random.default_rng().permutation(len(labels))
            parts = range(0, len(order), batch_size)
            pieces = [torch.from_numpy(order[i : i + batch_size]) for i in parts]
            return iter([(images[p], labels[p]) for p in pieces])

    return Inner()


def batches_by_argsort(dataset, batch_size, device):
    class Loader(list):
        def __iter__(self):
            order = torch.rand(len(labels), device=device).argsort()
            pieces = (tensor[order].split(batch_size) for tensor in (images, labels))
            return zip(*pieces, strict=True)

    images, labels = (t.to(device) for t in dataset.tensors)
    return Loader(range(0, len(labels), batch_size))


def batches_of_a_loader(dataset, batch_size, device):
    kept = TensorDataset(*(t.to(device) for t in dataset.tensors))
    return DataLoader(kept, batch_size, shuffle=True)


class WrappedLoader:
    def __init__(self, dataset, batch_size, device):
        self.loader = batches_of_a_loader(dataset, batch_size, device)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        yield from self.loader


class InOrder(Batches):
    shuffled = False


class WithoutLast(Batches):
    last = False


class Floored(Batches):
    def __len__(self):
        return len(self.tensors[0]) // self.size


class OneOrder(Batches):
    one_order = True


class Seeded(Batches):
    def draw(self):
        torch.manual_seed(0)
        return super().draw()


class Apart(Batches):
    def __iter__(self):
        for images, _ in super().__iter__():
            yield images, self.tensors[1][self.draw()[: len(images)]]


class Once(Batches):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.batches = super().__iter__()

    def __iter__(self):
        return self.batches


class Travelling(Batches):
    def __init__(self, dataset, batch_size, device):
        self.dataset = dataset
        super().__init__(dataset, batch_size, device)

    def __iter__(self):
        for chosen in self.draw().split(self.size):
            images, labels = self.dataset[chosen.cpu()]
            yield images.to(self.device), labels.to(self.device)


class TravellingImages(Travelling):
    def __iter__(self):
        for chosen in self.draw().split(self.size):
            images, _ = self.dataset[chosen.cpu()]
            yield images.to(self.device), self.tensors[1][chosen]


class WithReplacement(Batches):
    def draw(self):
        n = len(self.tensors[0])
        return torch.randint(n, (n,), device=self.device)


class NeverMoved(Batches):
    """On a processor, all seems well."""

    def __init__(self, dataset, batch_size, device):
        super().__init__(dataset, batch_size, torch.device("cpu"))


class NoLength:
    __init__, __iter__, draw = Batches.__init__, Batches.__iter__, Batches.draw
    shuffled, last, one_order = True, True, False


class ImagesOnly(Batches):
    def __iter__(self):
        for images, _ in super().__iter__():
            yield images


class Stub:
    """Your code: __init__(dataset, batch_size, device), __len__, __iter__."""


def finish(copies, computes, room):
    arrived, done = 0.0, []
    for batch, (copy, compute) in enumerate(zip(copies, computes, strict=True)):
        has_room = done[batch - room] if batch >= room else 0.0
        arrived = max(arrived, has_room) + copy
        done.append(max(arrived, done[-1] if done else 0.0) + compute)
    return done[-1]


def finish_by_events(copies, computes, room):
    """Go from one event to the next: who travels, who is computed."""
    now, travels, computed = 0.0, {}, {}
    while len(computed) < len(copies):
        k = len(travels)
        if k < len(copies) and (k < room or k - room in computed):
            begin = max(travels.get(k - 1, 0.0), computed.get(k - room, 0.0))
            travels[k] = begin + copies[k]
            continue
        k = len(computed)
        now = max(now, travels[k]) + computes[k]
        computed[k] = now
    return torch.tensor(now, dtype=torch.float64)


RIGHT = {
    "10.1": [seconds, seconds_of_a_line, seconds_solved],
    "10.3": [gather, Gathering(), gather_by_shares],
    "10.2": [Batches, batches, batches_by_argsort],
    "10.4": [finish, finish_by_events],
}
WRONG = {
    "10.1": [
        (lambda n, a, b: a + n * (b - a) / 15, "is not the fixed part"),
        (lambda n, a, b: a + (n - 1) * (b - a) / 16, "15 pictures more, not 16."),
        (lambda n, a, b: n * a, "once per step"),
        (lambda n, a, b: n * b / 16, "does not grow with the batch"),
        (lambda n, a, b: n * (b - a) / 15, "The fixed part is missing"),
        (lambda n, a, b: 1_000 * seconds(n, a, b), "not milliseconds"),
        (lambda n, a, b: 0.0, "a straight line leads to"),
        (lambda n, a, b: (a, b), "should be a number"),
    ],
    "10.3": [
        (lambda *a: gather(*a, divide=False, inside=True), "Only the last part"),
        (lambda *a: gather(*a, inside=True), "but only the last is left"),
        (lambda *a: gather(*a, divide=False), "times too large"),
        (lambda *a: gather(*a, forget=False), "from before"),
        (gather_at_the_end, "are kept until the end"),
        (gather_at_once, "digits at once"),
        (gather_sums, "times that of the whole batch"),
        (gather_by_split, "`chunk(n)` makes `n` parts"),
        (gather_and_step, "changes the weights"),
        (lambda model, *a: model(a[0]), "Is `backward()` called?"),
        (lambda model, *a: 0, "The network is never called"),
        (lambda model, *a: model.zero_grad(), "no gradients"),
        (lambda model, i, k, n: gather(model, i, k.flip(0), n), "nor of one of its"),
    ],
    "10.2": [
        (InOrder, "shuffle them"),
        (WithoutLast, "never come"),
        (WithReplacement, "Others come twice"),
        (Floored, "The last batch is smaller, and counts"),
        (OneOrder, "Two epochs have the same order"),
        (Seeded, "Two epochs have the same order"),
        (Apart, "do not belong together"),
        (Once, "In the second epoch nothing comes"),
        (Travelling, "fetches from `dataset` again"),
        (TravellingImages, "fetches from `dataset` again"),
        (batches_of_a_loader, "A `DataLoader` is at work"),
        (WrappedLoader, "A `DataLoader` is at work"),
        (NeverMoved, "are on cpu, not on"),
        (NoLength, "has no len()"),
        (ImagesOnly, "a batch"),
        (torch.zeros(3), "should be a function"),
    ],
    "10.4": [
        (lambda c, w, room: sum(w) + sum(c), "took turns"),
        (lambda c, w, room: finish(c, w, len(c)), "room for all"),
        (lambda c, w, room: max(sum(w), sum(c)), "Nearly"),
        (lambda c, w, room: finish(c, w, room + 1), "the last is done after"),
        (lambda c, w, room: [finish(c, w, room)] * 2, "should be a number"),
    ],
}
EMPTY = {
    "10.1": [stub],
    "10.3": [stub],
    "10.2": [Stub],
    "10.4": [stub],
}
test_right, test_wrong, test_empty, test_all = of_chapter("10", RIGHT, WRONG, EMPTY)
