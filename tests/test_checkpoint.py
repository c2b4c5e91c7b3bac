"""Checkpoints: exact to the bit, safe on disk, and never wrong in silence."""

import copy
import io
import os
import pickle
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from helpers import checkpoint
from helpers.checkpoint import CheckpointError, TrainingState
from helpers.data import batches
from helpers.models import DropoutNet, PhotoNet
from helpers.randomness import random_state, restore_random_state

NUM_EXAMPLES, BATCH_SIZE, NUM_STEPS = 36, 8, 5


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
        noise = torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
        return self.images[index] * noise.float(), index % 10


def memory_loader(generator: torch.Generator) -> DataLoader:
    source = torch.Generator().manual_seed(1)
    images = torch.randn(NUM_EXAMPLES, 1, 28, 28, generator=source)
    digits = TensorDataset(images, torch.arange(NUM_EXAMPLES) % 10)
    return batches(digits, BATCH_SIZE, shuffle=True, generator=generator)


def noisy_loader(generator: torch.Generator, num_workers: int = 0) -> DataLoader:
    return DataLoader(
        NoisyDigits(),
        batch_size=BATCH_SIZE,
        shuffle=True,
        generator=generator,
        num_workers=num_workers,
    )


def worker_loader(generator: torch.Generator) -> DataLoader:
    return noisy_loader(generator, num_workers=1)


def plain_sgd(model: nn.Module) -> tuple:
    return SGD(model.parameters(), lr=0.05), None


def momentum_and_steps(model: nn.Module) -> tuple:
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    return optimizer, StepLR(optimizer, step_size=7, gamma=0.5)


def adam_and_cycle(model: nn.Module) -> tuple:
    optimizer = Adam(model.parameters(), lr=1e-3)
    return optimizer, OneCycleLR(optimizer, max_lr=0.01, total_steps=4 * NUM_STEPS)


def two_groups_and_milestones(model: nn.Module) -> tuple:
    parts = [{"params": model.conv1.parameters(), "lr": 0.1}]
    parts += [{"params": model.fc2.parameters()}]
    optimizer = SGD(parts, lr=0.01, momentum=0.5, weight_decay=1e-4)
    return optimizer, MultiStepLR(optimizer, milestones=[3, 9])


def start(make_loader, make_optimizer, seed: int) -> tuple[TrainingState, DataLoader]:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = DropoutNet()
    optimizer, scheduler = make_optimizer(model)
    return (
        TrainingState(model, optimizer, generator, scheduler),
        make_loader(generator),
    )


def train(state: TrainingState, loader: DataLoader, last_step: int) -> None:
    """Train until `last_step` steps of the whole run are done."""
    loss_fn = nn.CrossEntropyLoss()
    state.model.train()
    while len(state.history["steps"]) < last_step:
        for images, labels in state.remaining_batches(loader):
            loss = loss_fn(state.model(images), labels)
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


def assert_same(first: object, second: object, where: str = "") -> None:
    """Compare nested values; tensors and floats to the bit."""
    assert type(first) is type(second), where
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype, where
        assert first.shape == second.shape, where
        one, other = first.contiguous().numpy(), second.contiguous().numpy()
        assert one.tobytes() == other.tobytes(), where
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for key in first:
            assert_same(first[key], second[key], f"{where}[{key!r}]")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert first == second, where


def content(state: TrainingState) -> dict:
    return copy.deepcopy(state.content())


def small_state(seed: int = 0) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = Adam(model.parameters(), lr=0.01)
    model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    state = TrainingState(model, optimizer, torch.Generator().manual_seed(seed))
    state.history["epochs"].append({"epoch": 0, "validation_accuracy": 0.5})
    return state


# --- Exactness ----------------------------------------------------------------


RECIPES = [
    (memory_loader, plain_sgd),
    (memory_loader, momentum_and_steps),
    (memory_loader, adam_and_cycle),
    (noisy_loader, momentum_and_steps),
    (noisy_loader, adam_and_cycle),
    (noisy_loader, two_groups_and_milestones),
]


@pytest.mark.parametrize(("make_loader", "make_optimizer"), RECIPES)
@pytest.mark.parametrize("stops", [[10], [1], [7], [4, 5, 6], [3, 13, 19]])
def test_a_resumed_run_equals_an_unbroken_one(
    make_loader, make_optimizer, stops, tmp_path
):
    unbroken, loader = start(make_loader, make_optimizer, seed=0)
    train(unbroken, loader, 4 * NUM_STEPS)
    expected = content(unbroken)

    state, loader = start(make_loader, make_optimizer, seed=0)
    for stop in stops:
        train(state, loader, stop)
        checkpoint.save(state, tmp_path)
        # Another process: other weights, other random numbers everywhere.
        state, loader = start(make_loader, make_optimizer, seed=100 + stop)
        checkpoint.load(tmp_path, state)
        assert len(state.history["steps"]) == stop
    train(state, loader, 4 * NUM_STEPS)
    assert_same(content(state), expected)


def test_worker_processes_are_resumed_too(tmp_path):
    unbroken, loader = start(worker_loader, plain_sgd, seed=0)
    train(unbroken, loader, 2 * NUM_STEPS)
    state, loader = start(worker_loader, plain_sgd, seed=0)
    train(state, loader, 7)
    checkpoint.save(state, tmp_path)
    state, loader = start(worker_loader, plain_sgd, seed=9)
    checkpoint.load(tmp_path, state)
    train(state, loader, 2 * NUM_STEPS)
    assert_same(content(state), content(unbroken))


def test_saving_does_not_disturb_the_run(tmp_path):
    quiet, loader = start(noisy_loader, adam_and_cycle, seed=0)
    train(quiet, loader, 2 * NUM_STEPS)
    saving, loader = start(noisy_loader, adam_and_cycle, seed=0)
    for step in range(1, 2 * NUM_STEPS + 1):
        train(saving, loader, step)
        checkpoint.save(saving, tmp_path, keep=1)
    assert_same(content(saving), content(quiet))


def test_torch_itself_opens_the_file(tmp_path):
    state = small_state()
    path = checkpoint.save(state, tmp_path)
    theirs = torch.load(path, weights_only=True)
    assert_same(theirs, checkpoint.read(path))
    assert_same(dict(theirs["model"]), dict(state.model.state_dict()))


def test_the_global_generators_go_on_where_they_were(tmp_path):
    state = small_state()
    np.random.normal()  # leaves a second normal number waiting  # noqa: NPY002
    random.gauss(0, 1)
    path = checkpoint.save(state, tmp_path)

    def draw() -> list:
        return [
            torch.rand(3),
            np.random.normal(size=3).tolist(),  # noqa: NPY002
            [random.gauss(0, 1) for _ in range(3)],
        ]

    expected = draw()
    np.random.seed(5)  # noqa: NPY002
    checkpoint.load(path, state)
    assert_same(draw(), expected)


def test_every_dtype_and_a_tensor_that_is_a_view(tmp_path):
    dtypes = [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool]
    values = {str(dtype): torch.ones(3).to(dtype) for dtype in dtypes}
    values["transposed"] = torch.arange(6.0).reshape(2, 3).T
    values["odd"] = [float("inf"), -0.0, 1e-320]
    checkpoint.write(values, tmp_path / "values.pt")
    found = checkpoint.read(tmp_path / "values.pt")
    assert found.keys() == values.keys()
    for name, value in values.items():
        if isinstance(value, Tensor):
            assert torch.equal(found[name], value)
            assert found[name].dtype == value.dtype
    assert list(map(repr, found["odd"])) == ["inf", "-0.0", "1e-320"]


@pytest.mark.skipif(
    not torch.accelerator.is_available(), reason="needs a GPU beside the CPU"
)
@pytest.mark.parametrize("saved_on", ["cpu", "gpu"])
def test_moving_between_devices(saved_on, tmp_path):
    gpu = torch.accelerator.current_accelerator()
    here, there = ("cpu", gpu) if saved_on == "cpu" else (gpu, "cpu")

    def make(device) -> TrainingState:
        model = DropoutNet().to(device)
        optimizer = Adam(model.parameters())
        state = TrainingState(model, optimizer, torch.Generator())
        images = torch.randn(4, 1, 28, 28, device=device)
        model(images).sum().backward()
        optimizer.step()
        return state

    saved, state = make(here), make(there)
    torch.rand(3, device=here)
    path = checkpoint.save(saved, tmp_path)
    expected = torch.rand(3, device=here)
    checkpoint.load(path, state)
    for name, value in state.model.state_dict().items():
        assert value.device.type == torch.device(there).type
        assert torch.equal(value.cpu(), saved.model.state_dict()[name].cpu())
    for ours, theirs in zip(
        state.optimizer.state.values(), saved.optimizer.state.values(), strict=True
    ):
        assert torch.equal(ours["exp_avg"].cpu(), theirs["exp_avg"].cpu())
        assert ours["exp_avg"].device.type == torch.device(there).type
    state.model(torch.randn(4, 1, 28, 28, device=there)).sum().backward()
    state.optimizer.step()
    checkpoint.load(path, saved)
    assert torch.equal(torch.rand(3, device=here), expected)


# --- The folder -----------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finish_epoch(state: TrainingState, accuracy: float | None) -> None:
    state.epoch += 1
    row = {"epoch": state.epoch, "validation_accuracy": accuracy}
    state.history["epochs"].append(row)


def test_the_last_k_and_the_best_are_kept(tmp_path):
    state = small_state()
    for accuracy in [0.6, 0.9, 0.7, 0.9, 0.8]:
        finish_epoch(state, accuracy)
        checkpoint.save(state, tmp_path, keep=2)
    assert names(tmp_path) == [
        "00004-epoch-004-step-00000.pt",
        "00005-epoch-005-step-00000.pt",
        "best.pt",
    ]
    assert checkpoint.read(tmp_path / "best.pt")["epoch"] == 2
    assert checkpoint.latest(tmp_path).name.startswith("00005")


def test_without_validation_there_is_no_best(tmp_path):
    state = small_state()
    state.history["epochs"].clear()
    finish_epoch(state, None)
    checkpoint.save(state, tmp_path)
    assert names(tmp_path) == ["00001-epoch-001-step-00000.pt"]


def test_the_best_survives_a_crash_between_the_two_files(tmp_path, monkeypatch):
    state = small_state()
    checkpoint.save(state, tmp_path)
    finish_epoch(state, 0.9)
    replace = os.replace

    def power_cut(source: Path, target: Path) -> None:
        if Path(target).name != "best.pt":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(state, tmp_path)
    monkeypatch.undo()
    resumed = small_state(1)
    checkpoint.load(tmp_path, resumed)
    assert resumed.epoch == 0
    finish_epoch(resumed, 0.9)
    finish_epoch(resumed, 0.8)
    checkpoint.save(resumed, tmp_path)
    assert checkpoint.read(tmp_path / "best.pt")["epoch"] == 1


def test_numbers_beyond_the_padding_and_foreign_names(tmp_path):
    path = checkpoint.save(small_state(), tmp_path)
    path.rename(tmp_path / "99999-epoch-000-step-00000.pt")
    (tmp_path / "notes.pt").write_text("mine")
    newest = checkpoint.save(small_state(), tmp_path, keep=1)
    assert newest.name == "100000-epoch-000-step-00000.pt"
    assert checkpoint.latest(tmp_path) == newest
    assert names(tmp_path) == ["100000-epoch-000-step-00000.pt", "best.pt", "notes.pt"]


def test_latest_of_a_folder_without_checkpoints(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "missing") is None
    for place, message in [
        (tmp_path, "holds no checkpoint"),
        (tmp_path / "missing.pt", "cannot read the checkpoint .*missing.pt"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load(place, small_state())


def test_fallback_takes_the_newest_good_file(tmp_path):
    state, paths = small_state(), []
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
    newest = checkpoint.save(state, tmp_path)
    assert checkpoint.latest(tmp_path) == newest
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

    monkeypatch.setattr(os, failing, fail)
    expected = CheckpointError if isinstance(error, OSError) else SystemExit
    with pytest.raises(expected):
        checkpoint.write({"a": 2}, path)
    monkeypatch.undo()
    assert checkpoint.read(path) == {"a": 1}
    assert names(tmp_path) == ["a.pt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        checkpoint.save(small_state(), tmp_path / "file" / "folder")


def test_left_over_partial_files_are_removed(tmp_path):
    (tmp_path / "00001-epoch-000-step-00000.pt.12345678.partial").write_text("half")
    checkpoint.save(small_state(), tmp_path)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(0.5), "numpy.float64"),
        (np.zeros(2), "numpy.ndarray"),
        (nn.Linear(1, 1), "Linear"),
        ({1, 2}, "set"),
        (Path("a"), "Path"),
        (print, "builtin_function"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(value, kind, tmp_path):
    state = small_state()
    state.history["steps"].append({"loss": value})
    with pytest.raises(CheckpointError, match=kind) as caught:
        checkpoint.save(state, tmp_path)
    assert "['history']['steps'][0]['loss'] is a" in str(caught.value)
    assert names(tmp_path) == []


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep"):
        checkpoint.save(small_state(), tmp_path, keep=0)


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
    directory = data.index(b"PK\x01\x02")
    # Every byte of the directory: most of it is not covered by any checksum.
    places = [*range(directory, len(data))]
    places += [dice.randrange(directory) for _ in range(300)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << dice.randrange(8)
        yield bytes(changed)
    for record in range(len(data[directory:].split(b"PK\x01\x02")) - 1):
        start = directory
        for _ in range(record):
            start = data.index(b"PK\x01\x02", start + 1)
        yield data[: start + 38] + b"\x10" + data[start + 39 :]  # "it is a folder"
    for part in range(60):
        yield data[: part * len(data) // 60]
    for length in (1, 16, 512, 4096) * 6:
        first, second = sorted(dice.sample(range(len(data) - length), 2))
        ends = first + length, second + length
        for middle in (b"\0" * length, b"", data[first : ends[0]] * 2):
            yield data[:first] + middle + data[ends[0] :]
        swapped = bytearray(data)
        swapped[first : ends[0]], swapped[second : ends[1]] = (
            data[second : ends[1]],
            data[first : ends[0]],
        )
        yield bytes(swapped)
    half = len(data) // 2
    yield data[half:] + data[:half]
    for length in (1, 22, 100_000):
        yield data + dice.randbytes(length)
        yield dice.randbytes(length) + data
    yield data + data
    yield data.replace(b"\n", b"\r\n")
    yield b"\0" * len(data)


def test_damaged_files_are_refused_or_equal(tmp_path):
    """What no checksum covers (a date, padding) may change: the values do not."""
    path = checkpoint.save(small_state(), tmp_path)
    data, expected = path.read_bytes(), checkpoint.read(path)
    refused, message = 0, ""
    for variant in damaged(data):
        path.write_bytes(variant)
        try:
            found = checkpoint.read(path)
        except CheckpointError as error:
            refused, message = refused + 1, str(error)
            assert str(path) in message
        else:
            assert_same(found, expected)
    assert refused > 1_000


def test_a_flipped_bit_of_a_weight_that_torch_loads(tmp_path):
    state = small_state()
    path = checkpoint.save(state, tmp_path)
    data = bytearray(path.read_bytes())
    weight = state.model[0].weight.detach().numpy().tobytes()
    data[data.index(weight) + 3] ^= 0x40
    path.write_bytes(data)
    loaded = torch.load(path, weights_only=True)["model"]["0.weight"]
    assert not torch.equal(loaded, state.model[0].weight)
    before = content(state)
    with pytest.raises(CheckpointError, match="data/0 does not match its checksum"):
        checkpoint.load(path, state)
    assert_same(content(state), before)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: b"", "is damaged: it is empty.*fallback=True"),
        (lambda data: data[:-9], "is damaged: .*directory.*fallback=True"),
        (lambda data: pickle.dumps({}), "no checkpoint: it looks like a pickle"),
        (lambda data: b"GIF89a", "no checkpoint: it begins with b'GIF89a'"),
        (lambda data: b"pytorch-by-hand checkpoint, format 1", "an older version"),
        (lambda data: zipped("a/model.pt", data), "but a zip of a/model.pt"),
        (lambda data: saved(nn.Linear(1, 1)), "Linear.*any program.*state_dict"),
        (lambda data: saved([]), "it holds a list, no dict"),
        (lambda data: saved({"a": 1}), "no training state: it holds a"),
        (
            lambda data: saved(nn.Linear(1, 1).state_dict()),
            r"a state dict alone. Use model.load_state_dict\(torch.load",
        ),
        (
            lambda data: saved(nn.DataParallel(nn.Linear(1, 1)).state_dict()),
            r'(?s)a state dict alone.*DataParallel.*removeprefix\("module."\)',
        ),
        (
            lambda data: saved({"a": torch.ones(1)}, _use_new_zipfile_serialization=0),
            "looks like a pickle",
        ),
    ],
)
def test_foreign_files_are_named(make, message, tmp_path):
    path = checkpoint.save(small_state(), tmp_path)
    path.write_bytes(make(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(path, small_state())
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_program_in_a_file_is_run(tmp_path):
    path, target = tmp_path / "a.pt", tmp_path / "executed"
    for content in (Evil(target), {"model": Evil(target)}):
        for data in (saved(content), pickle.dumps(content)):
            path.write_bytes(data)
            with pytest.raises(CheckpointError, match="any program"):
                checkpoint.read(path)
    assert not target.exists()


# --- Another network, another optimizer -------------------------------------------


def state_of(model: nn.Module, make_optimizer=plain_sgd) -> TrainingState:
    optimizer, scheduler = make_optimizer(model)
    return TrainingState(model, optimizer, torch.Generator(), scheduler)


def test_a_different_network_is_refused_and_the_differences_listed(tmp_path):
    path = checkpoint.save(state_of(DropoutNet()), tmp_path)
    state = state_of(PhotoNet())
    before = content(state)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, state)
    message = str(caught.value)
    assert "different network than this PhotoNet" in message
    assert "module." not in message
    assert (
        "conv1.weight: float32 (10, 1, 5, 5) in the file, float32 (6, 3, 5, 5) here"
        in message
    )
    assert "fc3.bias: missing in the file, float32 (10,) here" in message
    assert_same(content(state), before)


class Compiled(nn.Module):
    """Names its weights as a network does that torch.compile has wrapped."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model


@pytest.mark.parametrize(
    ("wrap", "cause"),
    [
        (nn.DataParallel, 'with "module." come from DataParallel'),
        (Compiled, '"_orig_mod." from torch.compile'),
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
    # The line that the message gives mends it.
    line = str(caught.value).split("mends the names:\n")[1].strip()
    names = {"weights": checkpoint.read(path)["model"]}
    exec(line, names)
    plain.model.load_state_dict(names["weights"])


def test_a_long_list_of_differences_is_cut(tmp_path):
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(20)))
    path = checkpoint.save(state_of(deep), tmp_path)
    with pytest.raises(CheckpointError, match=r"and 30 more"):
        checkpoint.load(path, state_of(nn.Linear(1, 1)))


def test_another_number_type_is_another_network(tmp_path):
    path = checkpoint.save(state_of(nn.Linear(2, 2)), tmp_path)
    with pytest.raises(CheckpointError, match="float32.*float64"):
        checkpoint.load(path, state_of(nn.Linear(2, 2).double()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (adam_and_cycle, "optimizer SGD, but this run has Adam"),
        (momentum_and_steps, "scheduler NoneType, but this run has StepLR"),
        (two_groups_and_milestones, "different number of parameter groups"),
    ],
)
def test_another_optimizer_is_refused(make, message, tmp_path):
    path = checkpoint.save(state_of(DropoutNet()), tmp_path)
    state = state_of(DropoutNet(), make)
    if make is two_groups_and_milestones:
        state.scheduler = None
    before = content(state)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path, state)
    assert_same(content(state), before)


# --- Wrong use ----------------------------------------------------------------------


def test_a_loader_with_another_generator_is_refused():
    state, _ = start(memory_loader, plain_sgd, seed=0)
    other = memory_loader(torch.Generator())
    with pytest.raises(ValueError, match="the same torch.Generator"):
        next(state.remaining_batches(other))


def test_an_epoch_of_unknown_order_is_not_saved(tmp_path):
    state, _ = start(memory_loader, plain_sgd, seed=0)
    state.step = 3
    with pytest.raises(ValueError, match="remaining_batches"):
        checkpoint.save(state, tmp_path)


def test_a_smaller_loader_is_refused(tmp_path):
    state, loader = start(memory_loader, plain_sgd, seed=0)
    train(state, loader, 3)
    path = checkpoint.save(state, tmp_path)
    state, _ = start(memory_loader, plain_sgd, seed=0)
    checkpoint.load(path, state)
    digits = TensorDataset(torch.randn(16, 1, 28, 28), torch.arange(16) % 10)
    small = batches(digits, BATCH_SIZE, shuffle=True, generator=state.generator)
    with pytest.raises(CheckpointError, match="step 3.*only 2 batches"):
        next(state.remaining_batches(small))
