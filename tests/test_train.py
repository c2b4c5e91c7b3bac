"""The command line: real processes, stopped and killed, that end up the same.

Most processes here are forked from a server that has imported torch once; each
is a process of its own and is killed as any other.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from saved_runs import assert_same_result, flatten, result
from torch import nn

from helpers import _train_options, checkpoint, data, train
from helpers.checkpoint import CheckpointError
from helpers.models import MODELS
from helpers.training import fit

HERE = Path(__file__).parent
POSIX = os.name == "posix"
only_posix = pytest.mark.skipif(not POSIX, reason="Windows has no such signals")
CONTEXT = multiprocessing.get_context("forkserver" if POSIX else "spawn")

# 12 steps an epoch of the network with dropout.
TINY = ["--limit", "190", "--batch-size", "16", "--epochs", "3"]
TINY += ["--validation", "40", "--device", "cpu"]


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    """Have the children import torch only once, and use one thread."""
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(HERE), str(HERE.parent)])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("OMP_NUM_THREADS", "1")
        if POSIX:
            CONTEXT.set_forkserver_preload(["helpers.train", Path(__file__).stem])
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(num_threads)


# --- What runs in a child -----------------------------------------------------


def slow_disk(seconds: float) -> None:
    """Make every flush to the disk, and so every write, take its time."""
    fsync = os.fsync

    def slow_fsync(handle: int) -> None:
        time.sleep(seconds)
        fsync(handle)

    os.fsync = slow_fsync


def slow_steps(seconds: float) -> None:
    after_step = train._after_step

    def slow_after_step(*arguments: object) -> None:
        time.sleep(seconds)
        after_step(*arguments)

    train._after_step = slow_after_step


def command(arguments: list[str], log: Path, disk: float = 0, steps: float = 0) -> None:
    torch.set_num_threads(1)
    if disk:
        slow_disk(disk)
    if steps:
        slow_steps(steps)
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        sys.exit(train.main(arguments))


class Command:
    """`python -m helpers.train` in a forked process."""

    def __init__(self, log: Path, *arguments: object, **slow: float) -> None:
        self.log = log
        log.write_text("")
        words = [str(argument) for argument in arguments]
        self.process = CONTEXT.Process(target=command, args=(words, log), kwargs=slow)
        self.process.start()

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and all output."""
        self.process.join(300)
        assert self.process.exitcode is not None, "the command did not end"
        return self.process.exitcode, self.log.read_text()

    def wait_for(self, condition: Callable[..., object], *arguments: object) -> bool:
        """Wait for a condition; return whether it came before the end."""
        while self.process.is_alive():
            if condition(*arguments):
                return True
            time.sleep(0.0005)
        return False


def run(tmp_path: Path, *arguments: object, **slow: float) -> tuple[int, str]:
    return Command(tmp_path / "log", *arguments, **slow).finish()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    status, output = run(folder, *TINY, "--out", folder / "run")
    assert status == 0, output
    return folder / "run"


# --- The same as the loop of chapter 5 ------------------------------------------


def test_the_command_trains_as_fit_does(unbroken):
    before = torch.get_rng_state()
    torch.manual_seed(0)
    model = MODELS["dropout"]()
    training, validation = data.split_train_validation(data.mnist("train"), 40)
    training = torch.utils.data.Subset(training, range(190))
    history = fit(
        model,
        data.batches(
            data.to_tensors(training), 16, True, torch.Generator().manual_seed(0)
        ),
        data.batches(data.to_tensors(validation), 1_000),
        nn.CrossEntropyLoss(),
        torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
        torch.device("cpu"),
        num_epochs=3,
    )
    torch.set_rng_state(before)
    found = result(unbroken)
    assert flatten(dict(found["model"])) == flatten(dict(model.state_dict()))
    assert found["history"]["epochs"] == history["epochs"]
    steps = [
        {"examples": row["examples"], "loss": row["loss"]}
        for row in found["history"]["steps"]
    ]
    assert steps == history["steps"]


def test_output_and_files_of_a_run(unbroken, tmp_path):
    status, output = run(
        tmp_path, *TINY, "--epochs", 1, "--out", tmp_path / "a", "--save-every", 5
    )
    assert status == 0, output
    lines = output.splitlines()
    assert lines[0].startswith("Training dropout, saving in")
    assert lines[1].startswith("Epoch 0 of 1: validation loss 2.3")
    assert "training loss" not in lines[1]
    assert lines[2].startswith("Epoch 1 of 1: training loss 2.")
    assert "%" in lines[2].split("; validation loss")[1]
    assert lines[3].startswith("After epoch 1: test loss")
    assert len(lines) == 4
    # The start, after steps 5 and 10, the epoch's end, and the test figure.
    names = [path.name for path in checkpoint.checkpoints(tmp_path / "a")]
    assert names == [
        "00005-epoch-001-step-00000.pt",
        "00004-epoch-001-step-00000.pt",
        "00003-epoch-000-step-00010.pt",
    ]
    assert (tmp_path / "a" / "best.pt").exists()


@pytest.mark.parametrize(
    "options", ["--optimizer adam", "--model small-padded --lr .1"]
)
def test_other_recipes(options, tmp_path):
    arguments = [*TINY, *options.split(), "--epochs", "1", "--limit", "40"]
    status, output = run(tmp_path, *arguments, "--out", tmp_path / "a")
    assert status == 0, output


def test_more_epochs_afterwards_equal_all_at_once(unbroken, tmp_path):
    folder = tmp_path / "run"
    assert run(tmp_path, *TINY, "--epochs", 1, "--out", folder)[0] == 0
    # Settings not given are taken from the checkpoint.
    status, output = run(tmp_path, "--resume", "--epochs", 3, "--out", folder)
    assert status == 0
    assert "Going on from" in output
    first, second = result(folder), result(unbroken)
    assert first["history"].pop("test")[-1] == second["history"].pop("test")[-1]
    assert flatten(first) == flatten(second)


# --- Killed -----------------------------------------------------------------------


def kill(child: Command) -> bool:
    """Kill the process as a power cut would; return whether it still ran."""
    child.process.kill()
    child.process.join()
    return child.process.exitcode != 0


def numbers(folder: Path) -> int:
    newest = checkpoint.latest(folder)
    return 0 if newest is None else int(newest.name.split("-")[0])


def has_number(folder: Path, number: int) -> bool:
    return numbers(folder) >= number


def partial(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.partial")}


def has_new_partial(folder: Path, old: set[str]) -> bool:
    return bool(partial(folder) - old)


def assert_all_whole(folder: Path) -> None:
    for path in folder.glob("*.pt"):
        checkpoint.read(path)


@pytest.mark.parametrize("moment", ["while writing", "at random", "between"])
def test_killed_again_and_again_and_still_the_same(moment, unbroken, tmp_path):
    folder, dice = tmp_path / "run", random.Random(moment)
    kills = kills_in_a_write = 0
    # Either writes are slow, so that most kills fall into one, or steps are.
    slow = {"disk": 0.02} if moment == "while writing" else {"steps": 0.004}
    resume: list[str] = []
    while kills < 10:
        arguments = [*TINY, *resume, "--out", folder, "--save-every", 1, "--keep", 2]
        old_partial, number = partial(folder), numbers(folder) + dice.randint(1, 3)
        child = Command(tmp_path / "log", *arguments, **slow)
        child.wait_for(has_number, folder, number)
        if moment == "while writing":
            child.wait_for(has_new_partial, folder, old_partial)
        elif moment == "at random":
            time.sleep(dice.uniform(0, 0.02))
        if not kill(child):
            break  # it had reached the end
        kills += 1
        kills_in_a_write += bool(partial(folder) - old_partial)
        assert_all_whole(folder)
        resume = ["--resume"]
    assert kills >= 7
    if moment == "while writing":
        assert kills_in_a_write >= 5
    status, output = run(tmp_path, "--resume", "--out", folder)
    assert status == 0, output
    assert not partial(folder)
    assert_same_result(folder, unbroken)
    assert (
        checkpoint.read(folder / "best.pt")["epoch"]
        == checkpoint.read(unbroken / "best.pt")["epoch"]
    )


def test_the_real_command_killed_and_resumed(unbroken, tmp_path):
    folder = tmp_path / "run"
    arguments = [sys.executable, "-m", "helpers.train", "--out", str(folder)]
    first = subprocess.Popen(
        [*arguments, *TINY, "--save-every", "1"],
        stdout=subprocess.DEVNULL,
        cwd=HERE.parent,
    )
    while first.poll() is None and numbers(folder) < 5:
        time.sleep(0.001)
    assert first.poll() is None, "finished before it could be killed"
    first.kill()
    first.wait()
    assert result(folder)["step"] > 0
    again = subprocess.run(
        [*arguments, "--resume"], cwd=HERE.parent, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert_same_result(folder, unbroken)


def test_a_damaged_newest_checkpoint_is_passed_over(unbroken, tmp_path):
    folder = tmp_path / "run"
    child = Command(tmp_path / "log", *TINY, "--out", folder, "--save-every", 1)
    child.wait_for(has_number, folder, 9)
    kill(child)
    newest = checkpoint.latest(folder)
    newest.write_bytes(newest.read_bytes()[:500])
    status, output = run(tmp_path, "--resume", "--out", folder)
    assert status == 0
    assert f"warning: {newest.name} is damaged" in output
    assert_same_result(folder, unbroken)


def test_only_damaged_checkpoints(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "00001-epoch-000-step-00000.pt").write_bytes(b"")
    status, output = run(tmp_path, "--resume", "--out", folder)
    assert status == 1
    assert output.startswith("error: all checkpoints in")
    assert "Traceback" not in output


# --- Stopped ----------------------------------------------------------------------


@only_posix
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_saves_and_says_how_to_go_on(number, status, unbroken, tmp_path):
    folder = tmp_path / "run"
    child = Command(tmp_path / "log", *TINY, "--out", folder, steps=0.15)
    assert child.wait_for(lambda: "Epoch 1" in child.log.read_text())
    time.sleep(0.3)  # into the second epoch, far from its end
    os.kill(child.process.pid, number)
    ended, output = child.finish()
    assert ended == status
    assert f"python -m helpers.train --resume --out {folder}" in output
    assert "Traceback" not in output
    stopped = result(folder)
    assert stopped["epoch"] == 1
    assert 0 < stopped["step"] < 12
    assert run(tmp_path, "--resume", "--out", folder)[0] == 0
    assert_same_result(folder, unbroken)


@only_posix
def test_ctrl_c_of_the_real_command(tmp_path):
    folder = tmp_path / "run"
    options = ["--limit", "8000", "--batch-size", "8", "--validation", "40"]
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.train", *options, "--out", str(folder)],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("Epoch 0"):
            break
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Stopped and saved. To go on: python -m helpers.train --resume" in output
    assert errors == ""
    stopped = result(folder)
    assert stopped["epoch"] == 0
    assert stopped["step"] < 1000


@only_posix
def test_a_second_ctrl_c_does_not_wait(tmp_path):
    folder = tmp_path / "run"
    child = Command(tmp_path / "log", *TINY, "--out", folder, steps=30)
    assert child.wait_for(lambda: "Epoch 0" in child.log.read_text())
    time.sleep(0.1)
    for _ in range(2):
        os.kill(child.process.pid, signal.SIGINT)
        time.sleep(0.5)  # two that wait to be delivered would be one
    status, output = child.finish()
    assert status == 130
    assert "Stopped at once. To go on from 00001" in output


# --- Refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model resnet", "no network 'resnet'; choose from padded, dropout"),
        ("--model photo", "photo takes 32x32 color photographs"),
        ("--model residual", "residual takes 32x32 color photographs"),
        ("--epochs 0", "--epochs: '0' is not a whole number above 0"),
        ("--epochs 1.5", "'1.5' is not a whole number"),
        ("--batch-size -4", "--batch-size"),
        ("--lr 0", "'0' is not a number above 0"),
        ("--lr nan", "'nan' is not a number above 0"),
        ("--lr inf", "'inf' is not a number above 0"),
        ("--lr fast", "'fast' is not a number"),
        ("--momentum 1", "--momentum"),
        ("--momentum 0.5 --optimizer adam", "adam has no momentum"),
        ("--optimizer rmsprop", "--optimizer: invalid choice"),
        ("--seed x", "--seed"),
        ("--save-every 0", "--save-every"),
        ("--keep 0", "--keep"),
        ("--validation 60000", "must leave some of the 60000 digits"),
        ("--limit 59000", "there are 55000 training digits"),
        ("--device toaster", "device 'toaster' cannot be used here"),
        ("--unknown", "unrecognized arguments: --unknown"),
        ("--resume", "holds no checkpoint; start the run without --resume"),
        ("--out FILE", "cannot write there"),
    ],
)
def test_wrong_options_get_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    with pytest.raises(SystemExit) as caught:
        train.main(arguments.split())
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("python -m helpers.train: error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        train.main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_contradictions_are_named(unbroken, capsys):
    options = ["--resume", "--out", unbroken, "--batch-size", 16]
    message = refused(capsys, *options, "--seed", 3, "--lr", 0.5, "--model", "padded")
    assert "--seed 0 (not 3)" in message
    assert "--lr 0.01 (not 0.5)" in message
    assert "--model dropout (not padded)" in message
    assert "--batch-size" not in message
    assert "already at epoch 3" in refused(capsys, *options, "--epochs", 2)


def test_a_folder_with_a_run_is_not_trained_over(unbroken, capsys):
    message = refused(capsys, "--out", unbroken)
    assert "already holds the run" in message
    assert "--resume" in message


def test_a_finished_run_says_so(unbroken, tmp_path):
    before = sorted(path.name for path in unbroken.iterdir())
    status, output = run(tmp_path, "--resume", "--out", unbroken)
    assert status == 0
    assert "Already finished: 3 of 3 epochs." in output
    assert "test loss" in output
    assert sorted(path.name for path in unbroken.iterdir()) == before


def test_a_checkpoint_of_other_code_is_refused(tmp_path, capsys):
    checkpoint.write({"weights": 1}, tmp_path / "00001-epoch-000-step-00000.pt")
    message = refused(capsys, "--resume", "--out", tmp_path)
    assert "was not saved by this command" in message


def test_two_runs_in_one_folder(tmp_path):
    folder = tmp_path / "run"
    child = Command(tmp_path / "log", *TINY, "--out", folder, steps=30)
    assert child.wait_for(has_number, folder, 1)
    status, output = run(tmp_path, *TINY, "--out", folder, "--resume")
    kill(child)
    assert status == 2
    assert "another process is training in" in output


def test_every_network_that_is_offered_takes_digits():
    for name in _train_options.DIGIT_MODELS:
        logits = MODELS[name]()(torch.zeros(2, 1, 28, 28))
        assert tuple(logits.shape) == (2, 10)
    for name in _train_options.PHOTO_MODELS:
        logits = MODELS[name]()(torch.zeros(2, 3, 32, 32))
        assert tuple(logits.shape) == (2, 10)


# --- trained_model ----------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, with MNIST already unpacked in it."""
    data.mnist("test")
    unpacked = data.cache_folder() / "MNIST"
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "MNIST").symlink_to(unpacked, target_is_directory=True)
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(folder))
    return folder


def tiny_recipe(name: str, num_epochs: int, seed: int) -> tuple[nn.Module, dict]:
    """Stand in for the recipe: notes that it was called, and takes a while."""
    with (data.cache_folder() / "calls").open("a") as file:
        file.write("trained\n")
    time.sleep(0.2)
    torch.manual_seed(seed)
    return MODELS[name]().eval(), {"steps": [], "epochs": [{"epoch": num_epochs}]}


def ask(folder: Path, log: Path) -> None:
    os.environ["PYTORCH_BY_HAND_CACHE"] = str(folder)
    train._train_by_recipe = tiny_recipe
    model, _ = train.trained_model("dropout", 3, 0)
    log.write_text(repr(model.fc2.bias.tolist()))


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def trained_files(folder: Path) -> list[Path]:
    return sorted((folder / "trained").glob("*.pt"))


def test_several_processes_at_once_train_once(cache, tmp_path):
    logs = [tmp_path / f"log-{index}" for index in range(5)]
    children = [CONTEXT.Process(target=ask, args=(cache, log)) for log in logs]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0] * 5
    assert len({log.read_text() for log in logs}) == 1
    assert calls(cache) == 1
    assert len(trained_files(cache)) == 1
    assert not list((cache / "trained").glob("*.partial"))


def test_killed_while_training_or_writing(cache, tmp_path):
    child = CONTEXT.Process(target=ask, args=(cache, tmp_path / "log"))
    child.start()
    while not (cache / "calls").exists():
        time.sleep(0.001)
    child.kill()
    child.join()
    assert trained_files(cache) == []
    ask_again = CONTEXT.Process(target=ask, args=(cache, tmp_path / "log"))
    ask_again.start()
    ask_again.join(300)
    assert ask_again.exitcode == 0
    path = trained_files(cache)[0]
    path.rename(f"{path}.0123abcd.partial")
    ask_again = CONTEXT.Process(target=ask, args=(cache, tmp_path / "log"))
    ask_again.start()
    ask_again.join(300)
    assert trained_files(cache) == [path]
    assert not list(path.parent.glob("*.partial"))


def test_what_is_cached_and_what_is_noticed(cache, monkeypatch):
    monkeypatch.setattr(train, "_train_by_recipe", tiny_recipe)
    random_state = torch.get_rng_state()
    first, history = train.trained_model("padded", 2, 7)
    torch.set_rng_state(random_state)
    again, same_history = train.trained_model("padded", 2, 7)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert calls(cache) == 1
    assert flatten(again.state_dict()) == flatten(first.state_dict())
    assert same_history == history
    assert not again.training

    train.trained_model("padded", 3, 7)
    train.trained_model("padded", 2, 8)
    train.trained_model("dropout", 2, 7)
    assert calls(cache) == 4
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.0")
        train.trained_model("padded", 2, 7)
    assert calls(cache) == 5
    source = Path(train.models.__file__)
    changed = cache / "models.py"
    changed.write_bytes(source.read_bytes() + b"# a change\n")
    with monkeypatch.context() as patch:
        patch.setattr(train.models, "__file__", str(changed))
        train.trained_model("padded", 2, 7)
    assert calls(cache) == 6
    train.trained_model("padded", 2, 7)
    assert calls(cache) == 6


@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "foreign", "other"])
def test_a_damaged_cache_file_is_trained_anew(damage, cache, monkeypatch):
    monkeypatch.setattr(train, "_train_by_recipe", tiny_recipe)
    first, _ = train.trained_model()
    path = trained_files(cache)[0]
    content = path.read_bytes()
    if damage == "other":
        checkpoint.write({"key": "of another recipe"}, path)
    else:
        path.write_bytes(
            {
                "cut": content[:-100],
                "altered": content[:9000] + b"\1" + content[9001:],
                "empty": b"",
                "foreign": b"PK\x03\x04" + bytes(100),
            }[damage]
        )
    again, _ = train.trained_model()
    assert calls(cache) == 2
    assert flatten(again.state_dict()) == flatten(first.state_dict())
    assert path.read_bytes()[:20] == content[:20]


def test_the_real_recipe_leaves_the_global_generators_alone(cache):
    before = checkpoint.random_state()
    model, history = train.trained_model("dropout", num_epochs=0, seed=3)
    assert flatten(checkpoint.random_state()) == flatten(before)
    assert [row["epoch"] for row in history["epochs"]] == [0]
    assert history["steps"] == []
    torch.manual_seed(3)
    expected = MODELS["dropout"]()
    checkpoint.restore_random_state(before)
    assert flatten(model.state_dict()) == flatten(expected.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photo",), "must be one of padded, dropout.*not 'photo'"),
        (("resnet",), "not 'resnet'"),
        (("dropout", -1), "num_epochs must be 0 or more"),
    ],
)
def test_trained_model_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        train.trained_model(*arguments)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(tmp_path / "file"))
    with pytest.raises(data.DataError, match="PYTORCH_BY_HAND_CACHE"):
        train.trained_model()


def test_a_full_disk_is_reported(cache, monkeypatch):
    monkeypatch.setattr(train, "_train_by_recipe", tiny_recipe)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match="No space left"):
        train.trained_model()
    assert trained_files(cache) == []
    assert not list((cache / "trained").glob("*.partial"))
