"""Checkpoints: exact to the bit, safe on disk, and never wrong in silence."""

import copy
import io
import os
import pickle
import random
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from saved_runs import flatten
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import OneCycleLR, SequentialLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from helpers import checkpoint
from helpers.checkpoint import CheckpointError, TrainingState
from helpers.data import batches
from helpers.models import DropoutNet, PhotoNet
from helpers.randomness import random_state, restore_random_state

NUM_EXAMPLES, BATCH_SIZE, NUM_STEPS = 36, 8, 5
DIRECTORY = b"PK\x01\x02"  # begins each entry of a zip archive's directory


@pytest.fixture(autouse=True)
def _as_it_was_found() -> Iterator[None]:
    """One thread: networks this small only wait for a second one."""
    num_threads, before = torch.get_num_threads(), random_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
    restore_random_state(before)


# --- Small runs ---------------------------------------------------------------


class NoisyDigits(Dataset):
    """Augments with every global generator, as real pipelines do."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(1)
        self.images = torch.randn(NUM_EXAMPLES, 1, 28, 28, generator=source)

    def __len__(self) -> int:
        return NUM_EXAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.rand(1) + np.random.normal() + random.gauss()  # noqa: NPY002
        return self.images[index] * noise.float(), index % 10


def in_memory(generator: torch.Generator, size: int = NUM_EXAMPLES) -> DataLoader:
    digits = TensorDataset(NoisyDigits().images[:size], torch.arange(size) % 10)
    return batches(digits, BATCH_SIZE, shuffle=True, generator=generator)


def noisy(generator: torch.Generator, workers: int = 0) -> DataLoader:
    options = {"shuffle": True, "generator": generator, "num_workers": workers}
    return DataLoader(NoisyDigits(), BATCH_SIZE, **options)


def plain_sgd(model: nn.Module) -> tuple:
    return SGD(model.parameters(), lr=0.05), None


def momentum_and_steps(model: nn.Module) -> tuple:
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    return optimizer, StepLR(optimizer, step_size=7, gamma=0.5)


def one_after_another(model: nn.Module, count: int = 2) -> tuple:
    optimizer = SGD(model.parameters(), lr=0.05)
    steps = [StepLR(optimizer, step_size=7) for _ in range(count)]
    return optimizer, SequentialLR(optimizer, steps, [*range(1, count)])


def adam_and_cycle(model: nn.Module) -> tuple:
    optimizer = Adam(model.parameters(), lr=1e-3)
    return optimizer, OneCycleLR(optimizer, max_lr=0.01, total_steps=4 * NUM_STEPS)


def two_groups(model: nn.Module) -> tuple:
    parts = [{"params": model.conv1.parameters(), "lr": 0.1}]
    parts += [{"params": model.fc2.parameters()}]
    return SGD(parts, lr=0.01), None


def state_of(model: nn.Module, make_optimizer=plain_sgd, seed=0) -> TrainingState:
    optimizer, scheduler = make_optimizer(model)
    order = torch.Generator().manual_seed(seed)
    return TrainingState(model, optimizer, order, scheduler)


def start(make_loader, make_optimizer, seed: int) -> tuple[TrainingState, DataLoader]:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    state = state_of(DropoutNet(), make_optimizer, seed)
    return state, make_loader(state.generator)


def train(state: TrainingState, loader: DataLoader, last_step: int) -> None:
    """Train until `last_step` steps of the whole run are done."""
    state.model.train()
    while len(state.history["steps"]) < last_step:
        for images, labels in state.remaining_batches(loader):
            loss = nn.functional.cross_entropy(state.model(images), labels)
            state.optimizer.zero_grad()
            loss.backward()
            state.optimizer.step()
            if state.scheduler is not None:
                state.scheduler.step()
            state.step += 1
            state.history["steps"].append({"loss": loss.item()})
            if len(state.history["steps"]) == last_step:
                break
        if state.step == NUM_STEPS:
            state.epoch, state.step = state.epoch + 1, 0


def bits(state: TrainingState) -> object:
    """Return all of a state, to be compared to the bit."""
    return flatten(copy.deepcopy(state.content()))


def small_state(seed: int = 0) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    state = state_of(model, lambda model: (Adam(model.parameters()), None), seed)
    model(torch.randn(8, 3)).sum().backward()
    state.optimizer.step()
    return state


# --- Exactness ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_loader", "make_optimizer", "stops"),
    [
        (in_memory, adam_and_cycle, [3, 10, 19]),
        (noisy, momentum_and_steps, [4, 5, 6]),
        (noisy, two_groups, [1, 7]),
        (partial(noisy, workers=1), plain_sgd, [7]),
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(
    make_loader, make_optimizer, stops, tmp_path
):
    unbroken, loader = start(make_loader, make_optimizer, seed=0)
    train(unbroken, loader, 4 * NUM_STEPS)
    expected = bits(unbroken)

    state, loader = start(make_loader, make_optimizer, seed=0)
    for stop in stops:
        train(state, loader, stop - 1)
        checkpoint.save(state, tmp_path)  # and go on: to save disturbs nothing
        train(state, loader, stop)
        checkpoint.save(state, tmp_path)
        # Another process: other weights, other random numbers everywhere.
        state, loader = start(make_loader, make_optimizer, seed=100 + stop)
        checkpoint.load(tmp_path, state)
        assert len(state.history["steps"]) == stop
    train(state, loader, 4 * NUM_STEPS)
    assert bits(state) == expected


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("to_gpu", [True, False])
def test_moving_between_devices(to_gpu, tmp_path):
    gpu = torch.accelerator.current_accelerator()
    here, there = ("cpu", gpu) if to_gpu else (gpu, "cpu")

    def make(device) -> TrainingState:
        state = state_of(DropoutNet().to(device), adam_and_cycle)
        state.model(torch.randn(4, 1, 28, 28, device=device)).sum().backward()
        state.optimizer.step()
        return state

    saved, state = make(here), make(there)
    path = checkpoint.save(saved, tmp_path)
    expected = torch.rand(3, device=here)
    checkpoint.load(path, state)
    for ours, theirs in zip(
        state.optimizer.state.items(), saved.optimizer.state.items(), strict=True
    ):
        assert ours[0].device.type == torch.device(there).type
        assert torch.equal(ours[0].cpu(), theirs[0].cpu())
        assert torch.equal(ours[1]["exp_avg"].cpu(), theirs[1]["exp_avg"].cpu())
    checkpoint.load(path, saved)
    assert torch.equal(torch.rand(3, device=here), expected)


# --- The folder -----------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finish_epoch(state: TrainingState, accuracy: float | None) -> None:
    state.epoch += 1
    row = {"epoch": state.epoch, "validation_accuracy": accuracy}
    state.history["epochs"].append(row)


def test_the_last_k_and_the_best_are_kept_and_torch_itself_opens_them(tmp_path):
    state = small_state()
    finish_epoch(state, None)  # not validated: no best
    checkpoint.save(state, tmp_path)
    (tmp_path / "00001-epoch-001-step-00000.pt.1234.partial").write_text("half")
    (tmp_path / "notes.pt").write_text("mine")
    assert "best.pt" not in names(tmp_path)
    for accuracy in [0.6, 0.9, 0.7, 0.9, 0.8]:
        finish_epoch(state, accuracy)
        newest = checkpoint.save(state, tmp_path, keep=2)
    assert names(tmp_path) == [
        "00005-epoch-005-step-00000.pt",
        "00006-epoch-006-step-00000.pt",
        "best.pt",
        "notes.pt",
    ]
    theirs = torch.load(newest, weights_only=True)
    assert flatten(theirs) == flatten(checkpoint.read(newest))
    assert flatten(theirs["model"]) == flatten(state.model.state_dict())
    assert checkpoint.read(tmp_path / "best.pt")["epoch"] == 3
    newest.rename(tmp_path / "99999-epoch-000-step-00000.pt")
    newest = checkpoint.save(state, tmp_path)
    assert newest.name == "100000-epoch-006-step-00000.pt"
    assert checkpoint.latest(tmp_path) == newest


def test_the_best_survives_a_crash_between_the_two_files(tmp_path, monkeypatch):
    state = small_state()
    checkpoint.save(state, tmp_path)
    finish_epoch(state, 0.9)
    replace = os.replace

    def power_cut(source: Path, target: Path) -> None:
        if Path(target).name != "best.pt":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", power_cut)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(state, tmp_path)
    resumed = small_state(1)
    checkpoint.load(tmp_path, resumed)
    assert resumed.epoch == 0
    finish_epoch(resumed, 0.9)
    finish_epoch(resumed, 0.8)
    checkpoint.save(resumed, tmp_path)
    assert checkpoint.read(tmp_path / "best.pt")["epoch"] == 1


def test_fallback_takes_the_newest_good_file(tmp_path):
    for place in (tmp_path, tmp_path / "missing.pt"):
        with pytest.raises(CheckpointError, match=str(place)):
            checkpoint.load(place, small_state())
    assert checkpoint.latest(tmp_path / "missing") is None
    state = small_state()
    paths = []
    for _ in range(3):
        finish_epoch(state, 0.5)
        paths.append(checkpoint.save(state, tmp_path))
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    for place in (tmp_path, paths[2]):
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.load(place, state)
        assert checkpoint.load(place, state, fallback=True) == paths[1]
        assert state.epoch == 2
    # What is saved from here on comes after the damaged file.
    assert checkpoint.save(state, tmp_path) == checkpoint.latest(tmp_path)
    for path in checkpoint.checkpoints(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="(?s)it is empty.*it is empty"):
        checkpoint.load(tmp_path, state, fallback=True)


# --- Writing ----------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    failing, error, tmp_path, monkeypatch
):
    path = tmp_path / "a.pt"
    checkpoint.write({"a": 1}, path)

    def fail(*_: object) -> None:
        raise error

    expected = CheckpointError if isinstance(error, OSError) else SystemExit
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(expected):
            checkpoint.write({"a": 2}, path)
    assert checkpoint.read(path) == {"a": 1}
    assert names(tmp_path) == ["a.pt"]
    with pytest.raises(CheckpointError, match="cannot write"):
        checkpoint.save(small_state(), path / "folder")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.float64(0.5), "numpy.float64"), (nn.Linear(1, 1), "Linear"), ({1}, "set")],
)
def test_what_could_not_be_loaded_is_not_saved(value, kind, tmp_path):
    state = small_state()
    state.history["steps"].append({"loss": value})
    message = re.escape("['history']['steps'][0]['loss'] is a") + f".*{kind}"
    with pytest.raises(CheckpointError, match=message):
        checkpoint.save(state, tmp_path)
    assert names(tmp_path) == []


# --- Damage -----------------------------------------------------------------------


class Evil:
    """Would create a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, data)
    return archive.getvalue()


def damaged(data: bytes) -> Iterator[bytes]:
    dice = random.Random(0)
    directory = data.index(DIRECTORY)
    # Every byte of the directory, which no checksum covers, and some of the rest.
    for place in [*range(directory, len(data)), *dice.sample(range(directory), 200)]:
        changed = bytearray(data)
        changed[place] ^= 1 << dice.randrange(8)
        yield bytes(changed)
    for entry in re.finditer(re.escape(DIRECTORY), data):
        place = entry.start() + 38  # the mark of a folder
        yield data[:place] + b"\x10" + data[place + 1 :]
    yield from (data[: part * len(data) // 60] for part in range(60))
    for length in (1, 16, 128, 2048) * 5:
        a, b = sorted(dice.sample(range(len(data) - 2 * length), 2))
        one, other = data[a : a + length], data[b + length : b + 2 * length]
        for middle in (b"\0" * length, b"", one * 2, other):
            yield data[:a] + middle + data[a + length :]
        between = data[a + length : b + length]
        yield data[:a] + other + between + one + data[b + 2 * length :]
    for length in (1, 22, 100_000):
        yield data + dice.randbytes(length)
        yield dice.randbytes(length) + data
    half = len(data) // 2
    yield from (data[half:] + data[:half], data + data, b"\0" * len(data))
    yield data.replace(b"\n", b"\r\n")


# Every message ends with what to do.
REMEDY = r"\b(Load another|Load the checkpoint before|Ask|Use|Read it)\b"


def test_damaged_files_are_refused_or_equal(tmp_path):
    """What no checksum covers (a date, padding) may change: the values do not."""
    path, messages = tmp_path / "a.pt", []
    values = {"weights": torch.randn(60, 20), "ones": torch.ones(3), "lr": [0.5, "a"]}
    checkpoint.write(values, path)
    data, expected = path.read_bytes(), flatten(checkpoint.read(path))
    for variant in damaged(data):
        path.write_bytes(variant)
        try:
            assert flatten(checkpoint.read(path)) == expected
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 500
    assert all(str(path) in message for message in messages)
    assert all(re.search(REMEDY, message) for message in messages)


def test_a_flipped_bit_that_torch_loads_is_refused(tmp_path):
    state = small_state()
    path = checkpoint.save(state, tmp_path)
    data = bytearray(path.read_bytes())
    weight = state.model[0].weight.detach().numpy().tobytes()
    data[data.index(weight) + 3] ^= 0x40
    path.write_bytes(data)
    loaded = torch.load(path, weights_only=True)["model"]["0.weight"]
    assert not torch.equal(loaded, state.model[0].weight)
    before = bits(state)
    with pytest.raises(CheckpointError, match="does not match its checksum.*fallback"):
        checkpoint.load(path, state)
    assert bits(state) == before


OLD = {"_use_new_zipfile_serialization": False}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: b"", "is damaged: it is empty"),
        (lambda data: bytes(len(data)), "is damaged: it begins with zeros"),
        (lambda data: data[:-9], "is damaged: .*directory"),
        (lambda data: pickle.dumps({}), "no checkpoint: it looks like a pickle"),
        (lambda data: saved({"a": torch.ones(1)}, **OLD), "looks like a pickle"),
        (lambda data: b"GIF89a", "no checkpoint: it begins with b'GIF89a'"),
        (lambda data: zipped("a/model.pt", data), "but a zip of a/model.pt"),
        (lambda data: saved(nn.Linear(1, 1)), "Linear.*any program.*state_dict"),
        (lambda data: saved([]), "it holds a list, no dict"),
        (lambda data: saved({"a": 1}), "no training state: it holds a"),
        (lambda data: saved(nn.Linear(1, 1).state_dict()), "a state dict alone"),
        (
            lambda data: saved(nn.DataParallel(nn.Linear(1, 1)).state_dict()),
            r'(?s)a state dict alone.*DataParallel.*removeprefix\("module."\)',
        ),
    ],
)
def test_foreign_files_are_named(make, message, tmp_path):
    path = checkpoint.save(small_state(), tmp_path)
    path.write_bytes(make(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(path, small_state())
    assert str(path) in str(caught.value)
    assert re.search(REMEDY, str(caught.value))


def test_no_program_in_a_file_is_run(tmp_path):
    path, target = tmp_path / "a.pt", tmp_path / "executed"
    for data in (saved({"model": Evil(target)}), pickle.dumps(Evil(target))):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="any program"):
            checkpoint.read(path)
    assert not target.exists()


# --- Another network, another optimizer -------------------------------------------


class Compiled(nn.Module):
    """Names its weights as a network does that torch.compile has wrapped."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model


@pytest.mark.parametrize(
    ("wrap", "cause"),
    [
        (nn.DataParallel, 'with "module." come from DataParallel'),
        (lambda model: Compiled(nn.DataParallel(model)), "from torch.compile"),
    ],
)
def test_prefixes_of_wrapped_networks_are_explained(wrap, cause, tmp_path):
    plain, wrapped = small_state(), small_state()
    wrapped.model = wrap(wrapped.model)
    for first, second in [(plain, wrapped), (wrapped, plain)]:
        path = checkpoint.save(first, tmp_path)
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(path, second)
        assert cause in " ".join(str(caught.value).split())
    weights = {"weights": checkpoint.read(path)["model"]}
    exec(str(caught.value).split("mends the names:\n")[1].strip(), weights)
    plain.model.load_state_dict(weights["weights"])


@pytest.mark.parametrize(
    ("model", "make_optimizer", "message"),
    [
        (
            PhotoNet(),
            plain_sgd,
            r"(?s)different network than this PhotoNet.*"
            r"conv1.weight: float32 \(10, 1, 5, 5\) in the file, "
            r"float32 \(6, 3, 5, 5\) here.*"
            r"fc3.bias: missing in the file, float32 \(10,\) here",
        ),
        (nn.Sequential(*[nn.Linear(2, 2)] * 20), plain_sgd, "and 36 more"),
        (DropoutNet().double(), plain_sgd, "float32.*float64"),
        (DropoutNet(), adam_and_cycle, "optimizer SGD, but this run has Adam"),
        (DropoutNet(), momentum_and_steps, "but this run has StepLR"),
        (DropoutNet(), one_after_another, "but this run has SequentialLR of StepLR"),
        (DropoutNet(), two_groups, "different number of parameter groups"),
    ],
)
def test_what_does_not_fit_is_refused(model, make_optimizer, message, tmp_path):
    path = checkpoint.save(state_of(DropoutNet()), tmp_path)
    state = state_of(model, make_optimizer)
    before = bits(state)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path, state)
    assert bits(state) == before


def test_schedulers_of_schedulers_must_be_as_many(tmp_path):
    path = checkpoint.save(state_of(DropoutNet(), one_after_another), tmp_path)
    longer = state_of(DropoutNet(), lambda model: one_after_another(model, 3))
    before = bits(longer)
    with pytest.raises(CheckpointError, match="of StepLR, StepLR, StepLR"):
        checkpoint.load(path, longer)
    assert bits(longer) == before
    checkpoint.load(path, state_of(DropoutNet(), one_after_another))


def test_wrong_use_is_explained(tmp_path):
    state, loader = start(in_memory, plain_sgd, seed=0)
    with pytest.raises(ValueError, match="the same torch.Generator"):
        next(state.remaining_batches(in_memory(torch.Generator())))
    state.step = 3
    with pytest.raises(ValueError, match="remaining_batches"):
        checkpoint.save(state, tmp_path)
    with pytest.raises(ValueError, match="remaining_batches"):
        next(state.remaining_batches(loader))
    with pytest.raises(ValueError, match="keep"):
        checkpoint.save(state, tmp_path, keep=0)
    state.step = 0
    train(state, loader, 3)
    checkpoint.save(state, tmp_path)
    checkpoint.load(tmp_path, state)
    with pytest.raises(CheckpointError, match="step 3.*only 2 batches"):
        next(state.remaining_batches(in_memory(state.generator, size=16)))
