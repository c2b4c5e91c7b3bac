"""The command line: real processes, stopped and killed, that end up the same."""

import errno
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from saved_runs import (
    Command,
    assert_same_result,
    few_test_digits,
    flatten,
    newest_number,
    result,
    run,
)
from saved_runs import _server as _server
from torch import nn

from helpers import checkpoint, data, train
from helpers.models import MODELS
from helpers.recipe import DIGIT_MODELS, PHOTO_MODELS
from helpers.training import fit

REPOSITORY = Path(__file__).parent.parent
only_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no signals")

# 12 steps an epoch of the network with dropout.
TINY = ["--limit", "190", "--batch-size", "16", "--epochs", "3"]
TINY += ["--validation", "40", "--device", "cpu"]
# A thousand steps an epoch, to be stopped on the way.
LONG = ["--limit", "8000", "--batch-size", "8", "--validation", "40"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    run(folder, *TINY)
    return folder


def start(folder: Path, *options: str, **settings: object) -> subprocess.Popen:
    """Start the real command, as a reader types it."""
    command = [sys.executable, "-m", "helpers.train", *options, "--out", str(folder)]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **({"text": True} | settings),
    )


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


def test_output_and_files_of_a_run(tmp_path):
    folder = tmp_path / "a"
    output = run(folder, *TINY, "--epochs", 1, "--save-every", 5)
    lines = output.splitlines()
    assert lines[0].startswith("Training dropout, saving in")
    assert lines[1].startswith("Epoch 0 of 1: validation loss 2.3")
    assert lines[2].startswith("Epoch 1 of 1: training loss 2.")
    assert "%" in lines[2].split("; validation loss")[1]
    assert lines[3].startswith("After epoch 1: test loss")
    assert len(lines) == 4
    # The start, after steps 5 and 10, the epoch's end, and the test figure.
    assert [path.name for path in checkpoint.checkpoints(folder)] == [
        "00005-epoch-001-step-00000.pt",
        "00004-epoch-001-step-00000.pt",
        "00003-epoch-000-step-00010.pt",
    ]
    assert (folder / "best.pt").exists()


@pytest.mark.parametrize(
    "options", ["--optimizer adam", "--model small-padded --lr .1"]
)
def test_other_recipes(options, tmp_path):
    run(tmp_path / "a", *TINY, *options.split(), "--epochs", 1, "--limit", 40)


def test_resume_begins_and_more_epochs_equal_all_at_once(unbroken, tmp_path):
    folder = tmp_path / "run"
    run(folder, *TINY, "--epochs", 1, "--resume")  # there is nothing yet: begin
    # Settings not given are taken from the checkpoint.
    output = run(folder, "--resume", "--epochs", 3, "--device", "cpu")
    assert "Going on from" in output
    first, second = result(folder), result(unbroken)
    assert first["history"].pop("test")[-1] == second["history"].pop("test")[-1]
    assert flatten(first) == flatten(second)
    assert "Already finished: 3 of 3 epochs." in run(folder, "--resume")


# --- Killed -----------------------------------------------------------------------


def partial(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.partial")}


@pytest.mark.parametrize("moment", ["while writing", "at random"])
def test_killed_again_and_again_and_still_the_same(moment, unbroken, tmp_path):
    folder, dice = tmp_path / "run", random.Random(moment)
    in_a_write = 0
    for _ in range(6):
        options = [*TINY, "--resume", "--save-every", 1, "--keep", 2]
        before, number = partial(folder), newest_number(folder) + dice.randint(1, 3)
        child = Command(folder, *options, disk=0.1)  # most kills fall into a write
        child.wait_for_checkpoint(number)
        if moment == "while writing":
            child.wait_for(lambda before=before: partial(folder) - before)
        else:
            time.sleep(dice.uniform(0, 0.1))
        child.kill()
        in_a_write += bool(partial(folder) - before)
        for path in folder.glob("*.pt"):
            checkpoint.read(path)
    assert in_a_write >= (4 if moment == "while writing" else 0)
    assert result(folder)["epoch"] < 3  # of 38 checkpoints, some are to come
    run(folder, "--resume", "--device", "cpu")
    assert not partial(folder)
    assert_same_result(folder, unbroken)
    best = [checkpoint.read(one / "best.pt")["epoch"] for one in (folder, unbroken)]
    assert best[0] == best[1]


def test_a_damaged_newest_checkpoint_is_passed_over(unbroken, tmp_path):
    folder = tmp_path / "run"
    child = Command(folder, *TINY, "--save-every", 1, disk=0.01)
    child.wait_for_checkpoint(9)
    child.kill()
    newest = checkpoint.latest(folder)
    newest.write_bytes(newest.read_bytes()[:500])
    output = run(folder, "--resume", "--device", "cpu")
    assert f"warning: {newest.name} is damaged" in output
    assert_same_result(folder, unbroken)


def test_only_damaged_checkpoints(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "00001-epoch-000-step-00000.pt").write_bytes(b"")
    status, output = Command(folder, "--resume").finish()
    assert status == 1
    assert output.startswith("error: ")
    assert "it is empty" in output
    assert "another --out" in output


# --- Stopped ----------------------------------------------------------------------


@only_posix
def test_ctrl_c_says_what_goes_on_and_that_works(tmp_path):
    """The folder needs quotes, and its name cannot be shown in the encoding."""
    folder = tmp_path / "my runs" / "书"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252:strict"}
    process = start(folder, *LONG, env=environment, text=False)
    while b"Epoch 0" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (130, b"")
    assert b"Stopped and saved. To go on: " in output
    saved = result(folder)
    assert (saved["epoch"], saved["step"] < 1000) == (0, True)

    process = start(folder.with_name("plain"), *LONG)
    while "Epoch 0" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 143
    command = output.split("To go on: ")[1].strip()
    assert shlex.quote(str(folder.with_name("plain"))) in command
    again = subprocess.Popen(
        f"exec {command}", shell=True, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert again.stdout.readline().startswith("Going on from")
    again.kill()
    again.wait()


@only_posix
def test_a_stopped_run_ends_as_an_unbroken_one(unbroken, tmp_path):
    folder = tmp_path / "run"
    child = Command(folder, *TINY, "--save-every", 1, disk=0.05)
    child.wait_for_checkpoint(17)  # in the second epoch, far from its end
    os.kill(child.processes[0].pid, signal.SIGINT)
    assert child.finish()[0] == 130
    assert 0 < result(folder)["step"] < 12
    run(folder, "--resume", "--device", "cpu")
    assert_same_result(folder, unbroken)


@only_posix
def test_a_second_ctrl_c_does_not_wait(tmp_path):
    folder = tmp_path / "run"
    child = Command(folder, *TINY, "--save-every", 1, disk=20)
    child.wait_for(lambda: partial(folder))  # the first checkpoint takes its time
    for _ in range(2):
        time.sleep(0.5)  # two that wait to be delivered would be one
        os.kill(child.processes[0].pid, signal.SIGINT)
    status, output = child.finish()
    assert status == 130
    assert "Stopped at once. Nothing is saved." in output


# --- Refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model resnet", "no network 'resnet'; choose from padded, dropout"),
        ("--model photo", "photo takes 32x32 color photographs"),
        ("--epochs 0", "--epochs: '0' is not a whole number above 0"),
        ("--epochs 1.5", "'1.5' is not a whole number"),
        ("--batch-size -4", "--batch-size"),
        ("--lr 0", "'0' is not a number above 0"),
        ("--lr nan", "'nan' is not a number above 0"),
        ("--lr inf", "'inf' is not a number above 0"),
        ("--lr fast", "'fast' is not a number"),
        ("--momentum 1", "--momentum"),
        ("--momentum 0.5 --optimizer adam", "adam has no momentum"),
        ("--optimizer rmsprop", "'rmsprop' is not sgd or adam"),
        ("--seed x", "--seed"),
        ("--keep 0", "--keep"),
        ("--validation 60000", "must leave some of the 60000 digits"),
        ("--limit 59000", "there are 55000 training digits"),
        ("--device toaster", "device 'toaster' cannot be used here"),
        ("--unknown", "unrecognized arguments: --unknown"),
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


def test_what_contradicts_the_folder_is_named(unbroken, tmp_path, capsys):
    options = ["--resume", "--out", unbroken, "--batch-size", 16]
    message = refused(capsys, *options, "--seed", 3, "--lr", 0.5, "--model", "padded")
    assert "--seed 0 (not 3)" in message
    assert "--lr 0.01 (not 0.5)" in message
    assert "--model dropout (not padded)" in message
    assert "--batch-size" not in message
    assert "already at epoch 3" in refused(capsys, *options, "--epochs", 2)
    assert "already holds the run" in refused(capsys, "--out", unbroken)
    checkpoint.write({"weights": 1}, tmp_path / "00001-epoch-000-step-00000.pt")
    message = refused(capsys, "--resume", "--out", tmp_path)
    assert "was not saved by this command" in message


def test_two_runs_in_one_folder(tmp_path):
    """The second one reads nothing before it holds the lock."""
    folder = tmp_path / "run"
    child = Command(folder, *LONG)
    child.wait_for_checkpoint(1)
    (folder / "00009-epoch-000-step-00000.pt").write_bytes(b"half of a file")
    status, output = Command(folder, *LONG, "--resume").finish()
    child.kill()
    assert status == 2
    assert "another process is training in" in output
    assert "damaged" not in output


@only_posix
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_that_knows_no_locks(code, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(data, "mnist", few_test_digits)
    options = [*TINY, "--limit", "32", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert train.main(options) == 0
    assert newest_number(tmp_path / "run") == 3


def test_every_network_that_is_offered_takes_digits():
    for name in MODELS:
        size = (2, 3, 32, 32) if name in PHOTO_MODELS else (2, 1, 28, 28)
        assert tuple(MODELS[name]()(torch.zeros(size)).shape) == (2, 10)
    assert {*DIGIT_MODELS, *PHOTO_MODELS} == set(MODELS)
