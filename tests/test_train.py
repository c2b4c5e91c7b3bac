"""The command line: real processes, stopped and killed, that end up the same."""

import errno
import os
import random
import shlex
import shutil
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
    lines = run(folder, *TINY, "--save-every", 5).splitlines()
    assert lines[0].startswith("Training dropout, saving in")
    assert lines[1].startswith("Epoch 0 of 3: validation loss 2.3")
    assert lines[2].startswith("Epoch 1 of 3: training loss 2.")
    assert "%" in lines[2].split("; validation loss")[1]
    assert lines[5].startswith("After epoch 3: test loss")
    assert len(lines) == 6
    return folder


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


def test_the_newest_files_and_the_best_are_kept(unbroken):
    """At the start, after steps 5 and 10 and each epoch's end, and the test figure."""
    assert [path.name for path in checkpoint.checkpoints(unbroken)] == [
        "00011-epoch-003-step-00000.pt",
        "00010-epoch-003-step-00000.pt",
        "00009-epoch-002-step-00010.pt",
    ]
    assert (unbroken / "best.pt").exists()


@only_posix
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--optimizer adam", errno.ENOLCK),
        ("--optimizer adam", errno.ENOSYS),
        ("--model small-padded --lr .1", errno.EOPNOTSUPP),
    ],
)
def test_other_recipes_in_a_folder_that_knows_no_locks(
    options, code, tmp_path, monkeypatch
):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(data, "mnist", few_test_digits)
    words = [*TINY, *options.split(), "--limit", "32", "--epochs", "1"]
    assert train.main([*words, "--out", str(tmp_path / "run")]) == 0
    assert newest_number(tmp_path / "run") == 3


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


def test_killed_again_and_again_and_still_the_same(unbroken, tmp_path):
    """At random, and while writing; and the newest checkpoint is damaged at last."""
    folder, dice = tmp_path / "run", random.Random(0)
    in_a_write = 0
    for attempt in range(6):
        options = [*TINY, "--resume", "--save-every", 1, "--keep", 2]
        before, number = partial(folder), newest_number(folder) + dice.randint(1, 3)
        child = Command(folder, *options, disk=0.1)  # most kills fall into a write
        child.wait_for_checkpoint(number)
        if attempt % 2:
            child.wait_for(lambda before=before: partial(folder) - before)
        else:
            time.sleep(dice.uniform(0, 0.1))
        child.kill()
        in_a_write += bool(partial(folder) - before)
        for path in folder.glob("*.pt"):
            checkpoint.read(path)
    assert in_a_write >= 2
    assert result(folder)["epoch"] < 3  # of 38 checkpoints, some are to come
    newest = checkpoint.latest(folder)
    newest.write_bytes(newest.read_bytes()[:500])
    output = run(folder, "--resume", "--device", "cpu")
    assert f"warning: {newest.name} is damaged" in output
    assert not partial(folder)
    assert_same_result(folder, unbroken)
    best = [checkpoint.read(one / "best.pt")["epoch"] for one in (folder, unbroken)]
    assert best[0] == best[1]


def test_only_damaged_checkpoints(tmp_path, capsys):
    (tmp_path / "00001-epoch-000-step-00000.pt").write_bytes(b"")
    assert train.main(["--resume", "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert "it is empty" in errors
    assert "another --out" in errors


# --- Stopped ----------------------------------------------------------------------


@only_posix
def test_ctrl_c_says_what_goes_on_and_that_works(tmp_path):
    folder = tmp_path / "my runs"  # it needs quotes
    words = ["-m", "helpers.train", *LONG, "--out", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, *words], cwd=REPOSITORY, text=True, **pipes
    )
    for line in process.stdout:
        if "Epoch 0" in line:
            break
    else:
        pytest.fail(process.stderr.read())
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (130, "")
    saved = result(folder)
    assert (saved["epoch"], saved["step"] < 1000) == (0, True)
    again = shlex.split(output.split("Stopped and saved. To go on: ")[1])
    assert again[1:3] == words[:2]
    assert Path(shutil.which(again[0])).samefile(sys.executable)
    child = Command(folder, *again[3:])
    child.wait_for_text("Going on from")
    child.kill()


@only_posix
def test_a_stopped_run_ends_as_an_unbroken_one(unbroken, tmp_path):
    folder = tmp_path / "书"  # its name cannot be shown in the output's encoding
    child = Command(folder, *TINY, "--save-every", 1, disk=0.05)
    child.wait_for_checkpoint(17)  # in the second epoch, far from its end
    os.kill(child.processes[0].pid, signal.SIGTERM)
    status, output = child.finish()
    assert status == 143
    assert "Stopped and saved. To go on: " in output
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
        ("--model resnet", "invalid choice: 'resnet'"),
        ("--model photo", "invalid choice: 'photo'"),
        ("--epochs 0", "--epochs: '0' is not a whole number above 0"),
        ("--epochs 1.5", "'1.5' is not a whole number"),
        ("--lr 0", "'0' is not a number above 0"),
        ("--lr nan", "'nan' is not a number above 0"),
        ("--momentum 1", "--momentum"),
        ("--momentum 0.5 --optimizer adam", "adam has no momentum"),
        ("--optimizer rmsprop", "invalid choice: 'rmsprop'"),
        ("--seed x", "--seed"),
        ("--validation 60000", "is not a whole number from 1 to 59999"),
        ("--limit 59000", "there are 55000 training digits"),
        ("--device toaster", "device 'toaster' cannot be used here"),
        ("--unknown", "unrecognized arguments: --unknown"),
        ("--out FILE", "cannot write there"),
    ],
)
def test_wrong_options_are_named(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    with pytest.raises(SystemExit) as caught:
        train.main(arguments.split())
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    usage, error = printed.err.splitlines()
    assert usage == "usage: python -m helpers.train [OPTIONS]"
    assert error.startswith("python -m helpers.train: error: ")
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


def test_two_runs_in_one_folder(tmp_path, capsys):
    """The second one reads nothing before it holds the lock."""
    folder = tmp_path / "run"
    child = Command(folder, *LONG)
    child.wait_for_checkpoint(1)
    (folder / "00009-epoch-000-step-00000.pt").write_bytes(b"half of a file")
    message = refused(capsys, *LONG, "--resume", "--out", folder)
    child.kill()
    assert "another process is training in" in message
    assert "damaged" not in message
