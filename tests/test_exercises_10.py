"""Answers to the exercises of chapter 10."""

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import changed, of_book, of_chapter
from torch.utils.data import DataLoader, TensorDataset


def seconds(batch_size, of_1, of_16):
    each = (of_16 - of_1) / 15
    return max(of_1 - each, 0) + batch_size * each


def seconds_of_a_line(batch_size, of_1, of_16):
    return np.polyval(np.polyfit([1, 16], [of_1, of_16], 1), batch_size)


def parts_of(images, labels, num_parts):
    return zip(images.chunk(num_parts), labels.chunk(num_parts), strict=True)


gather = of_book("10.3", "my_gather", loss_fn=F.cross_entropy)


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


def gather_at_the_end(model, images, labels, num_parts):
    model.zero_grad()
    losses = [F.cross_entropy(model(i), k) for i, k in parts_of(images, labels, 4)]
    torch.stack(losses).mean().backward()


Batches = of_book("10.2", "MyDeviceBatches")
finish = of_book("10.4", "my_finish")


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


def batches_of_a_loader(dataset, batch_size, device):
    kept = TensorDataset(*(t.to(device) for t in dataset.tensors))
    return DataLoader(kept, batch_size, shuffle=True)


class Once(Batches):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.batches = super().__iter__()

    def __iter__(self):
        return self.batches


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


# At the head of a line of `gather`: every part forgets what the others found.
FORGET = "model.zero_grad()\n        loss ="

RIGHT = {
    "10.1": [seconds, seconds_of_a_line],
    "10.3": [gather, Gathering()],
    "10.2": [Batches, batches],
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
        (
            changed(gather, {"loss =": FORGET, " / num_parts": ""}),
            "Only the last part",
        ),
        (changed(gather, {"loss =": FORGET}), "but only the last is left"),
        (changed(gather, {" / num_parts": ""}), "times too large"),
        (changed(gather, {"model.zero_grad()": "pass"}), "from before"),
        (gather_at_the_end, "are kept until the end"),
        (lambda model, i, k, n: gather(model, i, k, 1), "digits at once"),
        (
            changed(
                gather,
                {"me_labels)\n": 'me_labels, reduction="sum")\n', " / num_parts": ""},
            ),
            "times that of the whole batch",
        ),
        (
            changed(gather, {"images.chunk": "images.split", "ls.chunk": "ls.split"}),
            "`chunk(n)` makes `n` parts",
        ),
        (
            lambda model, *a: (
                gather(model, *a) or torch.optim.SGD(model.parameters(), lr=0.1).step()
            ),
            "changes the weights",
        ),
        (lambda model, *a: model(a[0]), "Is `backward()` called?"),
        (lambda model, *a: 0, "The network is never called"),
        (lambda model, *a: model.zero_grad(), "no gradients"),
        (lambda model, i, k, n: gather(model, i, k.flip(0), n), "nor of one of its"),
    ],
    "10.2": [
        (changed(Batches, {"randperm": "arange"}), "shuffle them"),
        (
            changed(Batches, {"(self.batch_size)": "(self.batch_size)[:-1]"}),
            "never come",
        ),
        (
            changed(
                Batches,
                {
                    "randperm": "randint",
                    "[0]), device": "[0]), [len(self.tensors[0])], device",
                },
            ),
            "Others come twice",
        ),
        (
            changed(Batches, {"-(-len": "(len"}),
            "The last batch is smaller, and counts",
        ),
        (
            changed(Batches, {"order =": "torch.manual_seed(0)\n        order ="}),
            "Two epochs have the same order",
        ),
        (
            changed(
                Batches,
                {
                    "tensor[chosen] for": "tensor.roll(k, 0)[chosen] for k,",
                    "in self.tensors]": "in enumerate(self.tensors)]",
                },
            ),
            "do not belong together",
        ),
        (Once, "In the second epoch nothing comes"),
        (
            changed(
                Batches,
                {
                    "self.batch_size,": "self.dataset, self.batch_size,",
                    "= batch_size,": "= dataset, batch_size,",
                    "tensor[chosen]": "tensor.to(self.device)",
                    "in self.tensors": "in self.dataset[chosen.cpu()]",
                },
            ),
            "fetches from `dataset` again",
        ),
        (
            changed(
                Batches,
                {"[tensor[chosen]": "[torch.stack([tensor[i] for i in chosen])"},
            ),
            "one by one",
        ),
        (batches_of_a_loader, "A `DataLoader` is at work"),
        (
            changed(Batches, {"order.split(": "torch.utils.data.DataLoader(order, "}),
            "A `DataLoader` is at work",
        ),
        (
            lambda dataset, size, device: Batches(dataset, size, torch.device("cpu")),
            "are on cpu, not on",  # on a processor, all seems well
        ),
        (changed(Batches, {"__len__": "length"}), "has no len()"),
        (
            changed(Batches, {"yield [": "yield self.tensors[0][chosen]; ["}),
            "a batch",
        ),
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

test_right, test_wrong, test_all = of_chapter("10", RIGHT, WRONG)
