"""Training from the command line, and trained networks for the chapters.

``python -m helpers.train --help`` lists the options. This module puts `data`,
`models`, `device`, `training`, `evaluation` and `checkpoint` together. Started by
``torchrun --nproc-per-node=N -m helpers.train``, N processes train together: each
step takes N times the batch size, one share a process (chapter 11).
"""

import argparse
import contextlib
import hashlib
import inspect
import json
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import Subset
from tqdm import tqdm

from helpers import checkpoint, data, distributed, evaluation, models, training
from helpers._train_options import (
    DIGIT_MODELS,
    RECIPE,
    OptionError,
    make_parser,
    recipe_for,
    resume_command,
)
from helpers.checkpoint import CheckpointError, TrainingState
from helpers.data._cache import cannot_write
from helpers.data._loaders import TensorLoader
from helpers.distributed import SharedCrossEntropy, ShareOfEachBatch, Team
from helpers.evaluation import evaluate
from helpers.models import MODELS
from helpers.training import History, fit, train_one_epoch

EVAL_BATCH_SIZE = 1_000


# --- Trained networks for the chapters ---------------------------------------


def trained_model(
    name: str = "dropout", num_epochs: int = 3, seed: int = 0
) -> tuple[nn.Module, History]:
    """Return a network trained by the book's standard recipe, and its history.

    The first call trains it and keeps it under `helpers.data.cache_folder()`;
    later calls load it. If several processes call at once, one trains and the
    others wait. Global random state stays as it was.

    Parameters
    ----------
    name : str
        A network for MNIST digits, by its name in `helpers.models.MODELS`.
    num_epochs : int
        Times through the 55,000 training digits.
    seed : int
        Fixes the first weights, the order of the digits and the dropout.

    Returns
    -------
    (nn.Module, dict)
        The network on the CPU in evaluation mode, and what
        `helpers.training.fit` returned.

    Raises
    ------
    ValueError
        If there is no such network for digits, or `num_epochs` is negative.
    helpers.data.DataError, helpers.checkpoint.CheckpointError
        If the cache folder cannot be written.
    """
    if name not in DIGIT_MODELS:
        raise ValueError(f"name must be one of {', '.join(DIGIT_MODELS)}, not {name!r}")
    if num_epochs < 0:
        raise ValueError(f"num_epochs must be 0 or more, not {num_epochs}")
    key = _cache_key(name, num_epochs, seed)
    folder = data.cache_folder() / "trained"
    path = folder / f"{name}-{num_epochs}-{seed}-{key[:16]}.pt"
    found = _load_trained(path, name, key)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            # Another process may have trained it while this one waited.
            found = _load_trained(path, name, key)
            if found is None:
                found = _train_by_recipe(name, num_epochs, seed)
                _save_trained(path, key, *found)
    except OSError as error:
        raise cannot_write(Path(error.filename or path), error) from error
    return found


def _train_by_recipe(
    name: str, num_epochs: int, seed: int
) -> tuple[nn.Module, History]:
    """Train as chapter 5 does. This function's text is part of the cache key."""
    with torch.random.fork_rng(devices=[]), _one_thread():
        # torch.manual_seed would also reseed the GPUs, which stay untouched.
        torch.default_generator.manual_seed(seed)
        model = MODELS[name]()
        loaders = data.mnist_loaders(batch_size=64, seed=seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        history = fit(
            model,
            loaders.train,
            loaders.validation,
            nn.CrossEntropyLoss(),
            optimizer,
            torch.device("cpu"),
            num_epochs,
        )
    return model.eval(), history


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: the same sums whatever the number of cores.

    For networks this small it is nearly as fast as two, and where several
    notebooks run at once it is much faster: threads do not wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cache_key(name: str, num_epochs: int, seed: int) -> str:
    """Return a checksum of all that the trained weights depend on.

    The sources of `helpers.data` hold the md5 sums of MNIST, so the data is
    covered too.
    """
    digest = hashlib.sha256(json.dumps([name, num_epochs, seed]).encode())
    digest.update(torch.__version__.encode())
    digest.update(inspect.getsource(_train_by_recipe).encode())
    for module in (data, models, training, evaluation):
        source = Path(inspect.getfile(module))
        files = source.parent.glob("*.py") if module is data else [source]
        for file in sorted(files):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _load_trained(path: Path, name: str, key: str) -> tuple[nn.Module, History] | None:
    """Return what `path` holds, or None if that is missing, damaged or other."""
    try:
        content = checkpoint.read(path)
        if content["key"] != key:
            return None
        with torch.random.fork_rng(devices=[]):  # first weights are drawn too
            model = MODELS[name]()
        model.load_state_dict(content["model"])
    except (CheckpointError, KeyError, RuntimeError):
        return None
    return model.eval(), content["history"]


def _save_trained(path: Path, key: str, model: nn.Module, history: History) -> None:
    """Write one cache file. The caller holds its lock."""
    for left_over in path.parent.glob(f"{path.name}.*.partial"):
        left_over.unlink(missing_ok=True)
    content = {"key": key, "model": model.state_dict(), "history": history}
    checkpoint.write(content, path)


# --- The command line --------------------------------------------------------


class Stopped(Exception):
    """Training stopped after a step because a signal asked for it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a note that is read between two steps.

    The second of a kind acts at once, as it would have without this.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal_number = number
        signal.signal(number, self._before[number])


@dataclass
class Run:
    """One run of the command: what is trained, and how far."""

    state: TrainingState
    train_loader: TensorLoader
    validation_loader: TensorLoader
    device: torch.device
    folder: Path
    num_epochs: int
    save_every: int
    keep: int
    loss_fn: nn.Module
    stop: StopRequest
    team: Team
    stop_signal: int | None = None

    def save(self) -> None:
        """Write a checkpoint. All processes must call this at the same step.

        None goes on before it is written: torchrun stops the others if one leaves.
        """
        if self.team.size > 1:
            random_states = self.team.gather(checkpoint.random_state())
            self.state.settings["random_of_others"] = random_states[1:]
        arguments = (self.state, self.folder, self.keep)
        _agreed(self.team, checkpoint.save, *arguments, only_first=True)

    def look_for_signal(self) -> None:
        """Note whether any process was asked to stop; all call this at once."""
        signals = (signal.SIGTERM, signal.SIGINT)
        asked = self.team.sum([self.stop.signal_number == s for s in signals])
        self.stop_signal = next(
            (s for s, count in zip(signals, asked, strict=True) if count), None
        )

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if a signal came; everything has been saved."""
        if self.stop_signal is not None:
            raise Stopped(self.stop_signal)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line and return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without it, those that the program was started with.

    Returns
    -------
    int
        0 when trained (or already trained), 1 if a file could not be read or
        written, 130 or 143 when stopped by Ctrl-C or SIGTERM. Wrong options
        leave through `SystemExit` with 2, as argparse does.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    folder = options.out or Path("runs") / (options.model or RECIPE["model"])
    team = distributed.join()
    go_on = resume_command(folder, team.size)
    try:
        return _train(options, folder, team)
    except OptionError as error:
        parser.error(str(error))
    except Stopped as stopped:
        _say(f"Stopped and saved. To go on: {go_on}")
        team.gather(None)  # nobody leaves before that is said
        return stopped.exit_status
    except KeyboardInterrupt:
        saved = checkpoint.latest(folder)
        _say(
            f"Stopped at once. To go on from {saved.name}: {go_on}"
            if saved
            else "Stopped at once; nothing was saved yet."
        )
        return 128 + signal.SIGINT
    except (CheckpointError, data.DataError) as error:
        _say(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        distributed.leave()


def _train(options: argparse.Namespace, folder: Path, team: Team) -> int:
    """Start or go on with the run that the options describe."""
    saved = _agreed(
        team, _checkpoint_to_resume, folder, options.resume, only_first=True
    )
    run = _agreed(team, _prepare, options, folder, saved, team)
    state = run.state
    state.settings |= _torchruns(team)
    finished = _test_row(run)
    if finished is None:
        with contextlib.ExitStack() as stack:
            _agreed(team, stack.enter_context, _only_run_in(folder), only_first=True)
            stack.enter_context(run.stop)
            together = f" in {team.size} processes" if team.size > 1 else ""
            beginning = f"Training {state.settings['model']}{together}"
            _say(
                f"Going on from {saved}"
                if saved
                else f"{beginning}, saving in {folder}"
            )
            _train_epochs(run)
            finished = _test(run)
    else:
        _say(
            f"Already finished: {state.epoch} of {run.num_epochs} epochs. To train "
            f"longer, ask for more than that with --epochs."
        )
    figures = _figures("test", finished["loss"], finished["accuracy"])
    _say(f"After epoch {state.epoch}: {figures}")
    return 0


def _prepare(
    options: argparse.Namespace, folder: Path, saved: Path | None, team: Team
) -> Run:
    """Return the run that the options describe, in the state it was saved in."""
    settings = recipe_for(options, saved, team)
    run = _build(options, settings, folder, team)
    state = run.state
    if saved is not None:
        checkpoint.load(saved, state)
        if not team.is_first:
            others = settings["random_of_others"]
            checkpoint.restore_random_state(others[team.rank - 1])
        if (state.epoch, state.step) > (run.num_epochs, 0):
            raise OptionError(
                f"--epochs {run.num_epochs}: this run is already at epoch "
                f"{state.epoch}, step {state.step}; ask for more epochs"
            )
    state.settings = settings
    return run


def _agreed(
    team: Team,
    function: Callable[..., Any],
    *arguments: object,
    only_first: bool = False,
) -> Any:
    """Call a function in all processes, or in the first; if one fails, all do.

    Otherwise those that did not fail would wait for the others forever. What the
    first process returned is returned in all, if it alone was to call.
    """
    result = error = None
    if team.is_first or not only_first:
        try:
            result = function(*arguments)
        except (OptionError, CheckpointError, data.DataError) as caught:
            error = caught
    for found in team.gather(error):
        if found is not None:
            raise found
    return team.from_first(result) if only_first else result


def _train_epochs(run: Run) -> None:
    """Train from wherever the state is to the last epoch."""
    state = run.state
    model = run.team.wrap(state.model, run.device)
    loss_fn = run.loss_fn
    if run.team.size > 1:
        loss_fn = SharedCrossEntropy(run.team)
    if not state.history["epochs"]:
        _end_epoch(run, None, None)  # the untrained network, for comparison
    while state.epoch < run.num_epochs:
        # train_one_epoch knows only the part of the epoch that it trained
        # itself, so the epoch's figures are taken from the history instead.
        with _progress_bar(run) as bar:
            batches = state.remaining_batches(run.train_loader)
            train_one_epoch(
                model,
                batches,
                loss_fn,
                state.optimizer,
                run.device,
                lambda *figures, bar=bar: _after_step(run, bar, *figures),
            )
        loss, accuracy = _mean_of_last_steps(state.history, state.step)
        state.epoch, state.step = state.epoch + 1, 0
        _end_epoch(run, loss, accuracy)


def _after_step(
    run: Run, bar: tqdm, batch_loss: float, batch_correct: int, batch_size: int
) -> None:
    """Record a step; save when it is time to, or when asked to stop."""
    state = run.state
    state.step += 1
    run.look_for_signal()
    batch_loss, batch_correct, batch_size = _whole_batch(
        run, batch_loss, batch_correct, batch_size
    )
    examples = _examples_seen(state.history) + batch_size
    row = {"examples": examples, "loss": batch_loss, "correct": batch_correct}
    state.history["steps"].append(row)
    bar.set_postfix(loss=f"{batch_loss:.3f}", refresh=False)
    bar.update()
    if state.step == len(run.train_loader):
        return  # the end of the epoch saves
    if state.step % run.save_every == 0 or run.stop_signal is not None:
        run.save()
    run.stop_if_asked()


def _whole_batch(
    run: Run, batch_loss: float, batch_correct: int, batch_size: int
) -> tuple[float, int, int]:
    """Return a step's figures for all processes together, from each one's own."""
    team = run.team
    if team.size == 1:
        return batch_loss, batch_correct, batch_size
    mean, correct, counted = team.sum(
        [batch_loss / team.size, batch_correct, batch_size]
    )
    shares = run.train_loader.sampler
    assert isinstance(shares, ShareOfEachBatch)
    whole = shares.whole_size(run.state.step)
    return mean, round(correct * whole / counted), whole


def _end_epoch(
    run: Run, train_loss: float | None, train_accuracy: float | None
) -> None:
    """Validate, record the epoch, save, and report."""
    state = run.state
    validation_loss, validation_accuracy = evaluate(
        state.model, run.validation_loader, run.loss_fn, run.device
    )
    row = {
        "epoch": state.epoch,
        "examples": _examples_seen(state.history),
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
    }
    state.history["epochs"].append(row)
    run.save()
    figures = _figures("validation", validation_loss, validation_accuracy)
    if train_loss is not None and train_accuracy is not None:
        figures = f"{_figures('training', train_loss, train_accuracy)}; {figures}"
    _say(f"Epoch {state.epoch} of {run.num_epochs}: {figures}")
    run.look_for_signal()
    run.stop_if_asked()


def _test(run: Run) -> dict[str, Any]:
    """Measure the trained network on the test digits, once, and save that."""
    state = run.state
    # Its own generator: otherwise the loader would draw from the global one,
    # and training on from here would differ from training through.
    loader = data.batches(
        data.to_tensors(data.mnist("test")),
        EVAL_BATCH_SIZE,
        generator=torch.Generator(),
    )
    loss, accuracy = evaluate(state.model, loader, run.loss_fn, run.device)
    row = {"epoch": state.epoch, "loss": loss, "accuracy": accuracy}
    state.history.setdefault("test", []).append(row)
    run.save()
    return row


def _test_row(run: Run) -> dict[str, Any] | None:
    """Return the test figures of the finished run, if it is finished."""
    for row in run.state.history.get("test", []):
        if row["epoch"] == run.num_epochs == run.state.epoch:
            return row
    return None


def _examples_seen(history: History) -> int:
    return history["steps"][-1]["examples"] if history["steps"] else 0


def _mean_of_last_steps(history: History, num_steps: int) -> tuple[float, float]:
    """Return mean loss and accuracy over the last steps, as train_one_epoch does."""
    rows = history["steps"]
    start = rows[-num_steps - 1]["examples"] if len(rows) > num_steps else 0
    total_loss, correct, seen = 0.0, 0, 0
    for row in rows[-num_steps:]:
        size = row["examples"] - start - seen
        total_loss += row["loss"] * size
        correct += row["correct"]
        seen += size
    return total_loss / seen, correct / seen


def _progress_bar(run: Run) -> tqdm:
    state = run.state
    return tqdm(
        total=len(run.train_loader),
        initial=state.step,
        desc=f"epoch {state.epoch + 1} of {run.num_epochs}",
        unit=" steps",
        leave=False,
        # No bar where the output is not a terminal, and one for all processes.
        disable=None if run.team.is_first else True,
    )


def _figures(name: str, loss: float, accuracy: float) -> str:
    return f"{name} loss {loss:.4f}, accuracy {accuracy:.2%}"


def _say(text: str, file: TextIO | None = None) -> None:
    """Print, once for all processes."""
    if distributed.is_first():
        print(text, file=file, flush=True)


# --- From options to a run ---------------------------------------------------


def _checkpoint_to_resume(folder: Path, resume: bool) -> Path | None:
    """Return the newest good checkpoint if asked to resume, else None."""
    newest = checkpoint.latest(folder)
    if not resume and not _began_before_restart(folder):
        if newest is not None:
            raise OptionError(
                f"{folder} already holds the run that saved {newest.name}: go on "
                f"with it (--resume), or name another folder (--out)"
            )
        return None
    if newest is None:
        raise OptionError(
            f"--resume: {folder} holds no checkpoint; start the run without --resume, "
            f"or name its folder with --out"
        )
    good = checkpoint.latest(folder, verify=True)
    if good is None:
        raise CheckpointError(
            f"all checkpoints in {folder} are damaged. Start the run anew with "
            f"another --out."
        )
    if good != newest:
        print(
            f"warning: {newest.name} is damaged; {good.name} is the newest good one",
            file=sys.stderr,
        )
    return good


def _began_before_restart(folder: Path) -> bool:
    """Tell whether the torchrun that restarted this process began the run there."""
    name = distributed.restarting_torchrun()
    if name is None or not distributed.was_restarted():
        return False
    newest = checkpoint.latest(folder, verify=True)
    settings = checkpoint.read(newest).get("settings", {}) if newest else {}
    return name in settings.get("torchruns", [])


def _torchruns(team: Team) -> dict[str, list[str]]:
    """Return what to save so that a restarted process knows the run for its own."""
    names = team.gather(distributed.restarting_torchrun())
    return {"torchruns": names} if any(names) else {}


def _build(
    options: argparse.Namespace, settings: dict[str, Any], folder: Path, team: Team
) -> Run:
    """Make everything that a run needs, in its state before the first step."""
    try:
        device = team.choose_device(options.device)
    except ValueError as error:
        raise OptionError(f"--device: {error}") from error
    _seed_everything(settings["seed"])
    model = MODELS[settings["model"]]().to(device)
    if not team.is_first:  # every process draws its own dropout
        _seed_everything((settings["seed"] + team.rank) % 2**63)
    train_loader, validation_loader = _digit_loaders(settings, team)
    return Run(
        state=TrainingState(
            model, _optimizer(model, settings), generator=train_loader.generator
        ),
        train_loader=train_loader,
        validation_loader=validation_loader,
        device=device,
        folder=folder,
        num_epochs=settings["epochs"],
        save_every=options.save_every,
        keep=options.keep,
        loss_fn=nn.CrossEntropyLoss(),
        stop=StopRequest(),
        team=team,
    )


def _seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (takes 32 bits only)


def _digit_loaders(
    settings: dict[str, Any], team: Team
) -> tuple[TensorLoader, TensorLoader]:
    """Return training and validation loaders, as `data.mnist_loaders` does."""
    train, validation = data.split_train_validation(
        data.mnist("train"), settings["validation"]
    )
    if settings["limit"] is not None:
        train = Subset(train, range(settings["limit"]))
    generator = torch.Generator().manual_seed(settings["seed"])
    together = data.batches(
        data.to_tensors(train),
        settings["batch_size"] * team.size,
        shuffle=True,
        generator=generator,
    )
    return (
        team.share(together),
        data.batches(data.to_tensors(validation), EVAL_BATCH_SIZE),
    )


def _optimizer(model: nn.Module, settings: dict[str, Any]) -> Optimizer:
    if settings["optimizer"] == "adam":
        return Adam(model.parameters(), lr=settings["lr"])
    return SGD(model.parameters(), lr=settings["lr"], momentum=settings["momentum"])


@contextlib.contextmanager
def _only_run_in(folder: Path) -> Iterator[None]:
    """Refuse a folder in which another process is training."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OptionError(
            f"another process is training in {folder}: wait for it, or name another "
            f"folder with --out"
        ) from None
    except NotImplementedError:
        pass  # some network folders know no locks
    except OSError as error:
        raise OptionError(
            f"--out {folder}: cannot write there ({error.strerror or error})"
        ) from error
    try:
        yield
    finally:
        lock.release()


if __name__ == "__main__":
    sys.exit(main())
