"""Checkpoints: exact to the bit, safe on disk, and never wrong in silence."""

import copy
import gzip
import hashlib
import io
import json
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

NUM_EXAMPLES, BATCH_SIZE, NUM_STEPS = 36, 8, 5


@pytest.fixture(autouse=True)
def _as_it_was_found() -> Iterator[None]:
    """One thread: networks this small only wait for a second one."""
    num_threads, before = torch.get_num_threads(), checkpoint.random_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
    checkpoint.restore_random_state(before)


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
    return copy.deepcopy(checkpoint._content(state))


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


def test_read_gives_what_torch_itself_gives_back(tmp_path):
    state = small_state()
    path = checkpoint.save(state, tmp_path)
    buffer = io.BytesIO()
    torch.save(state.model.state_dict(), buffer)
    buffer.seek(0)
    expected = torch.load(buffer, weights_only=True)
    assert_same(checkpoint.read(path)["model"], expected)
    payload = path.read_bytes().split(b"\n", 1)[1]
    theirs = torch.load(io.BytesIO(payload), weights_only=True)
    assert_same(checkpoint.read(path), theirs)


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
        (tmp_path / "missing.pt", "there is no checkpoint"),
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
    assert checkpoint.latest(tmp_path, verify=True) == paths[1]
    # What is saved from here on comes after the damaged file.
    newest = checkpoint.save(state, tmp_path)
    assert checkpoint.latest(tmp_path) == newest
    for path in checkpoint.checkpoints(tmp_path):
        path.write_bytes(b"")
    assert checkpoint.latest(tmp_path, verify=True) is None
    with pytest.raises(CheckpointError, match="no checkpoint is left"):
        checkpoint.load(tmp_path, state, fallback=True)


# --- Writing ----------------------------------------------------------------------


def test_flushed_to_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda h: (events.append("fsync"), fsync(h))[1])
    monkeypatch.setattr(
        os, "replace", lambda a, b: (events.append("replace"), replace(a, b))[1]
    )
    checkpoint.write({"a": 1}, tmp_path / "a.pt")
    assert events[:2] == ["fsync", "replace"]
    if os.name == "posix":
        assert events[2:] == ["fsync"]  # the folder


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
    assert "['history']['steps'][0]['loss']" in str(caught.value)
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


def with_header(payload: bytes, version: int = checkpoint.FORMAT) -> bytes:
    """Return a file whose checksum is right, whatever it holds."""
    first = f"pytorch-by-hand checkpoint, format {version}, {len(payload)} bytes"
    digest = hashlib.sha256(first.encode() + payload).hexdigest()
    return f"{first}, sha256 {digest}\n".encode() + payload


def saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def truncated(data: bytes) -> Iterator[bytes]:
    header = data.index(b"\n") + 1
    ends = {*range(0, header + 40, 4), header - 1, header, header + 1}
    ends |= {round(part / 50 * len(data)) for part in range(50)}
    ends |= {len(data) - missing for missing in (1, 2, 4, 22, 100, 1000)}
    for end in sorted(ends):
        yield data[:end]


def flipped(data: bytes) -> Iterator[bytes]:
    header = data.index(b"\n") + 1
    dice = random.Random(0)
    places = [*range(header), *(dice.randrange(header, len(data)) for _ in range(120))]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << dice.randrange(8)
        yield bytes(damaged)


def rearranged(data: bytes) -> Iterator[bytes]:
    dice = random.Random(1)
    for length in (1, 16, 512, 4096) * 6:
        place = dice.randrange(len(data) - length)
        for middle in (b"\0" * length, b"", data[place : place + length] * 2):
            damaged = data[:place] + middle + data[place + length :]
            if damaged != data:
                yield damaged
    half = len(data) // 2
    yield data[half:] + data[:half]
    yield data + b"\n"
    yield data + data
    yield b"\n" + data
    yield data.replace(b"\n", b"\r\n")
    yield b"\0" * len(data)


def foreign(data: bytes, target: Path) -> Iterator[bytes]:
    payload = data.split(b"\n", 1)[1]
    yield payload  # a checkpoint without its first line
    yield saved({"weight": torch.zeros(2)})
    yield saved({"weight": torch.zeros(2)}, _use_new_zipfile_serialization=False)
    yield saved(Evil(target))
    yield pickle.dumps(Evil(target))
    yield pickle.dumps({"model": 1})
    yield gzip.compress(data)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("model.pt", data)
    yield archive.getvalue()
    yield b"\x89PNG\r\n\x1a\n" + bytes(200)
    yield json.dumps({"model": [1, 2]}).encode()
    yield "三".encode()
    for version in (0, 2, 17):
        yield with_header(payload, version)
    yield b"pytorch-by-hand checkpoint, format 9, in a way not yet thought of\n"
    yield with_header(b"")
    yield with_header(b"not a zip")
    yield with_header(saved([1, 2]))
    yield with_header(saved({"weight": torch.zeros(2)}))
    yield with_header(saved({"model": Evil(target)}))
    yield with_header(pickle.dumps(Evil(target)))
    yield with_header(saved(nn.Linear(1, 1)))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hundreds_of_damaged_files_are_all_refused(tmp_path):
    target = tmp_path / "executed"
    path = checkpoint.save(small_state(), tmp_path)
    data = path.read_bytes()
    variants = [
        *truncated(data),
        *flipped(data),
        *rearranged(data),
        *foreign(data, target),
    ]
    assert len(set(variants)) >= 300
    state = small_state(seed=5)
    before = content(state)
    for index, variant in enumerate(variants):
        assert variant != data
        path.write_bytes(variant)
        try:
            checkpoint.load(path, state)
            pytest.fail(f"variant {index} was loaded")
        except CheckpointError as error:
            message = str(error)
        assert str(path) in message
    assert_same(content(state), before)  # nor did any of them change anything
    assert not target.exists()
    path.write_bytes(data)
    checkpoint.load(path, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: data[:40], "its first line is incomplete"),
        (lambda data: data[:-9], r"damaged: [\d,]+ bytes after its first line, not"),
        (lambda data: data[:-9] + bytes(9), "does not match its checksum"),
        (lambda data: saved({}), "no checkpoint of this book.*weights_only=True"),
        (lambda data: pickle.dumps({}), "looks like a pickle"),
        (lambda data: b"GIF89a", "begins with b'GIF89a'"),
        (lambda data: with_header(b"", 2), "format 2.*a newer version"),
        (lambda data: with_header(b"", 0), "format 0.*the older version"),
        (lambda data: with_header(saved(nn.Linear(1, 1))), "Linear.*any program"),
        (lambda data: with_header(saved([])), "no dictionary"),
        (lambda data: with_header(saved({"a": 1})), "no training state: it holds a"),
    ],
)
def test_the_message_says_what_is_wrong(make, message, tmp_path):
    path = checkpoint.save(small_state(), tmp_path)
    path.write_bytes(make(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path, small_state())


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
    assert (
        "conv1.weight: float32 (10, 1, 5, 5) in the file, float32 (6, 3, 5, 5) here"
        in message
    )
    assert "fc3.bias: missing in the file, float32 (10,) here" in message
    assert_same(content(state), before)


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
        (momentum_and_steps, "scheduler None, but this run has StepLR"),
        (two_groups_and_milestones, r"groups of \[8\].*this one \[2, 2\]"),
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
    with pytest.raises(ValueError, match="another generator"):
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
