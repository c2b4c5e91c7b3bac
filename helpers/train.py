"""Training from the command line: ``python -m helpers.train --help``.

Puts `recipe`, `checkpoint`, `training` and `evaluation` together. Started by
``torchrun``, several processes train together (chapter 11): each takes a batch of
its own, `DistributedDataParallel` averages the gradients, and one of them writes.
"""

import argparse
import contextlib
import math
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler
from tqdm import tqdm

from helpers import checkpoint, data, distributed
from helpers.checkpoint import CheckpointError, TrainingState
from helpers.evaluation import evaluate
from helpers.files import locked, print_anything
from helpers.randomness import random_state, restore_random_state
from helpers.recipe import DIGIT_MODELS, LEARNING_RATES, NUM_DIGITS, Recipe
from helpers.training import train_one_epoch

# Between several processes, asking whether to stop costs a message.
STEPS_BETWEEN_QUESTIONS = 10
LOSS = nn.CrossEntropyLoss()


class OptionError(Exception):
    """The options ask for something that cannot be done; the message says what."""


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a note that is read between two steps.

    The second of a kind acts at once, as it would have without this; but not under
    ``torchrun``, which sends it on to processes that have had it already.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        if distributed.size() == 1:
            signal.signal(number, self._before[number])

    def asked(self, step: int) -> int:
        """Return the signal that any of the processes got, or 0.

        All must call this after the same step.
        """
        if distributed.size() == 1:
            return self.number
        if step % STEPS_BETWEEN_QUESTIONS:
            return 0
        number = torch.tensor(self.number)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return int(number)


@dataclass
class Run:
    """One run of the command: what is trained, how far, and what becomes of it."""

    recipe: Recipe
    state: TrainingState
    model: nn.Module  # that of the state; for several processes, in its wrapper
    device: torch.device
    train_loader: DataLoader[tuple[Tensor, ...]]
    sampler: DistributedSampler[tuple[Tensor, ...]] | None  # for several processes
    validation_loader: DataLoader[tuple[Tensor, ...]]
    options: argparse.Namespace  # out, save_every, keep, and go_on: what to type
    stop: StopRequest = field(default_factory=StopRequest)

    def join(self) -> None:
        """Meet the other processes, if there are any."""
        if self.sampler is None:
            return
        self.model = distributed.join(self.state.model, self.device)
        places: list[Any] = [None] * distributed.size()
        dist.all_gather_object(places, (self.state.epoch, self.state.step))
        if len(set(places)) > 1:
            raise CheckpointError(
                f"the processes do not see the same checkpoints in {self.options.out}: "
                f"name a folder that all machines share with --out"
            )

    def train(self) -> None:
        """Train from wherever the state is to the last epoch."""
        state = self.state
        if not state.history["epochs"]:
            self._end_epoch(None, None)  # the untrained network, for comparison
        while state.epoch < self.recipe.epochs:
            if self.sampler is not None:
                self.sampler.set_epoch(state.epoch)
            with self._progress_bar() as bar:
                train_one_epoch(
                    self.model,
                    state.remaining_batches(self.train_loader),
                    LOSS,
                    state.optimizer,
                    self.device,
                    lambda *figures, bar=bar: self._after_step(bar, *figures),
                )
            # train_one_epoch knows only the part of the epoch that it trained
            # itself, so the epoch's figures are taken from the history instead.
            rows = state.history["steps"][-state.step :]
            seen = sum(row["size"] for row in rows)
            loss = sum(row["loss"] * row["size"] for row in rows) / seen
            accuracy = sum(row["correct"] for row in rows) / seen
            state.epoch, state.step = state.epoch + 1, 0
            self._end_epoch(loss, accuracy)

    def test(self) -> None:
        """Measure the trained network on the test digits, once, and save that."""
        # Its own generator: otherwise the loader would draw from the global one,
        # and training on from here would differ from training through.
        loader = data.batches(
            data.to_tensors(data.mnist("test")), 1_000, generator=torch.Generator()
        )
        loss, accuracy = evaluate(self.state.model, loader, LOSS, self.device)
        row = {"epoch": self.state.epoch, "loss": loss, "accuracy": accuracy}
        self.state.history["test"].append(row)
        self.save()

    def save(self) -> None:
        """Write a checkpoint; all processes must call this after the same step."""
        settings: dict[str, Any] = {"recipe": asdict(self.recipe)}
        if self.recipe.processes > 1:  # each draws random numbers of its own
            states: list[Any] = [None] * distributed.size()
            dist.gather_object(random_state(), None if distributed.rank() else states)
            settings["random"] = states
        self.state.settings = settings
        if distributed.rank() == 0:
            checkpoint.save(self.state, self.options.out, self.options.keep)

    def _after_step(self, bar: tqdm, loss: float, correct: int, size: int) -> None:
        """Record a step; save when it is time to, or when asked to stop."""
        state, steps = self.state, self.state.history["steps"]
        state.step += 1
        examples = steps[-1]["examples"] if steps else 0
        examples += size * self.recipe.processes
        row = {"examples": examples, "loss": loss, "correct": correct, "size": size}
        steps.append(row)
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update()
        if state.step == len(self.train_loader):
            return  # the end of the epoch saves
        is_time = state.step % self.options.save_every == 0
        if is_time:
            self.save()
        self._stop_if_asked(saved=is_time)

    def _end_epoch(
        self, train_loss: float | None, train_accuracy: float | None
    ) -> None:
        """Validate, record the epoch, save, and report."""
        state, steps = self.state, self.state.history["steps"]
        loss, accuracy = evaluate(
            state.model, self.validation_loader, LOSS, self.device
        )
        row = {
            "epoch": state.epoch,
            "examples": steps[-1]["examples"] if steps else 0,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "validation_loss": loss,
            "validation_accuracy": accuracy,
        }
        state.history["epochs"].append(row)
        self.save()
        figures = _figures("validation", loss, accuracy)
        if train_loss is not None and train_accuracy is not None:
            # No sum over the processes: the first one tells of its own digits.
            whose = " of one share" if self.recipe.processes > 1 else ""
            of_epoch = _figures("training", train_loss, train_accuracy)
            figures = f"{of_epoch}{whose}; {figures}"
        _say(f"Epoch {state.epoch} of {self.recipe.epochs}: {figures}")
        self._stop_if_asked(saved=True)

    def _stop_if_asked(self, saved: bool) -> None:
        """End the run between two steps, if a signal came."""
        number = self.stop.asked(self.state.step)
        if not number:
            return
        if not saved:
            self.save()
        _say(f"Stopped and saved. To go on: {self.options.go_on}")
        if self.recipe.processes > 1:
            dist.barrier()  # nobody leaves before all of it is written
        sys.exit(128 + number)

    def _progress_bar(self) -> tqdm:
        return tqdm(
            total=len(self.train_loader),
            initial=self.state.step,
            desc=f"epoch {self.state.epoch + 1} of {self.recipe.epochs}",
            unit=" steps",
            leave=False,
            # No bar where the output is not a terminal, and one for all processes.
            disable=None if distributed.rank() == 0 else True,
        )


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
        written, 130 when a second Ctrl-C came. Wrong options leave through
        `SystemExit` with 2, as argparse does, and a run that Ctrl-C or SIGTERM
        stopped and saved with 130 or 143.
    """
    print_anything()
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = make_parser()
    options = parser.parse_args(words)
    options.out = options.out or Path("runs") / (options.model or Recipe.model)
    options.go_on = command_to_go_on(words)
    try:
        if not options.resume:
            new_recipe(options)  # what is wrong is told before a folder is made
        device = _device(options.device)
        with _only_run_in(options.out):
            _train(_prepare(options, device))
        return 0
    except OptionError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        saved, what = checkpoint.latest(options.out), "Nothing is saved."
        if saved is not None:
            what = f"To go on from {saved.name}: {options.go_on}"
        _say(f"Stopped at once. {what}")
        return 128 + signal.SIGINT
    except (CheckpointError, data.DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        distributed.leave()


def _train(run: Run) -> None:
    """Train to the end, unless that was done before, and say how good it is."""
    tests = run.state.history.setdefault("test", [])
    if tests and tests[-1]["epoch"] == run.recipe.epochs:
        _say(
            f"Already finished: {run.state.epoch} of {run.recipe.epochs} epochs. To "
            f"train longer, ask for more than that with --epochs."
        )
    else:
        run.join()
        with run.stop:
            run.train()
            run.test()
    figures = _figures("test", tests[-1]["loss"], tests[-1]["accuracy"])
    _say(f"After epoch {run.state.epoch}: {figures}")


def _figures(name: str, loss: float, accuracy: float) -> str:
    return f"{name} loss {loss:.4f}, accuracy {accuracy:.2%}"


def _say(text: str) -> None:
    """Print, once for all processes; a reader who went away is no reason to end."""
    if distributed.rank() == 0:
        with contextlib.suppress(OSError):
            print(text, flush=True)


# --- From options to a run ---------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line, and explains it with ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.train",
        usage="%(prog)s [OPTIONS]",
        description="Train one of the book's networks on the MNIST digits. What "
        "stands in parentheses is taken if you leave an option out.",
        epilog="In two processes: torchrun --local-addr=localhost "
        "--nproc-per-node=2 -m helpers.train ...",
    )
    whole = _value(int, lambda n: n >= 1, "a whole number above 0")
    seed = _value(int, lambda n: 0 <= n < 2**63, "a whole number from 0 to 2**63 - 1")
    rate = _value(float, lambda x: 0 < x < math.inf, "a number above 0")
    held = _value(
        int, lambda n: 1 <= n < NUM_DIGITS, f"a whole number from 1 to {NUM_DIGITS - 1}"
    )
    part = _value(float, lambda x: 0 <= x < 1, "a number from 0 to below 1")
    usual = Recipe()
    rates = ", ".join(f"{lr} for {name}" for name, lr in LEARNING_RATES.items())
    per_step = f"digits per step, in each process ({usual.batch_size})"
    readers: list[tuple[str, Callable[[str], Any], str, str]] = [
        ("model", str, "NAME", f"{', '.join(DIGIT_MODELS)} ({usual.model})"),
        ("epochs", whole, "N", f"go through the digits N times ({usual.epochs})"),
        ("batch-size", whole, "N", per_step),
        ("optimizer", str, "NAME", f"sgd or adam ({usual.optimizer})"),
        ("lr", rate, "RATE", f"the learning rate ({rates})"),
        ("momentum", part, "M", f"the momentum of sgd ({usual.momentum})"),
        ("seed", seed, "N", "fixes first weights, order of the digits and dropout (0)"),
        ("validation", held, "N", f"hold N digits back ({usual.validation})"),
        ("limit", whole, "N", "train on the first N of the others (on all)"),
        ("device", str, "NAME", "cpu, cuda, mps, ... (the fastest that is found)"),
        ("out", Path, "FOLDER", "where checkpoints are kept (runs/ and the network)"),
        ("save-every", whole, "N", "write a checkpoint after every N steps (200)"),
        ("keep", whole, "N", "keep the newest N checkpoints, and the best (3)"),
    ]
    choices = {"model": DIGIT_MODELS, "optimizer": [*LEARNING_RATES]}
    for name, kind, metavar, text in readers:
        parser.add_argument(
            f"--{name}",
            type=kind,
            choices=choices.get(name),
            metavar=metavar,
            help=text,
        )
    text = "go on with the run in FOLDER; if there is none, begin it"
    parser.add_argument("--resume", action="store_true", help=text)
    parser.set_defaults(save_every=200, keep=3)
    return parser


def _value(
    kind: Callable[[str], Any], fits: Callable[[Any], bool], what: str
) -> Callable[[str], Any]:
    """Return what reads the value of an option and refuses others."""

    def value_of(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")

    return value_of


def _device(name: str | None) -> torch.device:
    try:
        return distributed.device_of_process(name)
    except ValueError as error:
        raise OptionError(f"--device: {error}") from error


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return those settings of the recipe that the options name."""
    named = {one.name: getattr(options, one.name, None) for one in fields(Recipe)}
    asked = {name: value for name, value in named.items() if value is not None}
    return asked | {"processes": distributed.size()}


def new_recipe(options: argparse.Namespace) -> Recipe:
    """Return what the options ask for, if it can be done."""
    asked = _asked(options)
    optimizer = asked.get("optimizer", Recipe.optimizer)
    if optimizer != "sgd" and "momentum" in asked:
        raise OptionError(f"--momentum: {optimizer} has no momentum to set")
    recipe = Recipe(**({"lr": LEARNING_RATES[optimizer]} | asked))
    left = NUM_DIGITS - recipe.validation
    if (recipe.limit or 0) > left:
        raise OptionError(
            f"--limit {recipe.limit}: there are {left} training digits beside the "
            f"{recipe.validation} for validation"
        )
    return recipe


def saved_recipe(
    options: argparse.Namespace, saved: Path, settings: dict[str, Any]
) -> Recipe:
    """Return the recipe of a checkpoint, unless the options contradict it."""
    found, asked = settings.get("recipe", {}), _asked(options)
    if set(found) != {one.name for one in fields(Recipe)}:
        raise OptionError(f"--resume: {saved} was not saved by this command")
    if found["processes"] != asked["processes"]:
        raise OptionError(
            f"--resume: {saved.parent} goes on in as many processes as it began in: "
            f"{found['processes']}, and not {asked['processes']}"
        )
    epochs = asked.pop("epochs", found["epochs"])
    contradictions = [
        f"--{name.replace('_', '-')} {found[name]} (not {value})"
        for name, value in asked.items()
        if value != found[name]
    ]
    if contradictions:
        raise OptionError(
            f"--resume: {saved.parent} was trained with {', '.join(contradictions)}; "
            f"leave these options out, or start another run with another --out"
        )
    return replace(Recipe(**found), epochs=epochs)


def _prepare(options: argparse.Namespace, device: torch.device) -> Run:
    """Return the run that the options describe, in the state it was saved in."""
    folder = options.out
    newest = checkpoint.latest(folder)
    if newest is None:
        run = _build(new_recipe(options), options, device)
        number = run.recipe.processes
        together = f" in {number} processes" if number > 1 else ""
        _say(f"Training {run.recipe.model}{together}, saving in {folder}")
        return run
    if not options.resume:
        raise OptionError(
            f"{folder} already holds the run that saved {newest.name}: go on "
            f"with it (--resume), or name another folder (--out)"
        )
    try:
        saved, content = checkpoint.read_newest(folder, fallback=True)
    except CheckpointError as error:
        advice = f"Nothing in {folder} can be read: start anew with another --out."
        raise CheckpointError(f"{error}\n{advice}") from error
    if saved != newest:
        _say(f"warning: {newest.name} is damaged; {saved.name} is the newest good one")
    recipe = saved_recipe(options, saved, content.get("settings", {}))
    run = _build(recipe, options, device)
    state = run.state
    checkpoint.load(saved, state)
    if distributed.rank() > 0:
        restore_random_state(state.settings["random"][distributed.rank()])
    if (state.epoch, state.step) > (recipe.epochs, 0):
        raise OptionError(
            f"--epochs {recipe.epochs}: this run is already at epoch {state.epoch}, "
            f"step {state.step}; ask for more epochs"
        )
    _say(f"Going on from {saved}")
    return run


def _build(recipe: Recipe, options: argparse.Namespace, device: torch.device) -> Run:
    """Make everything that a run needs, in its state before the first step."""
    _seed_everything(recipe.seed)
    model = recipe.make_model().to(device)
    if distributed.rank() > 0:  # every process draws its own dropout
        _seed_everything((recipe.seed + distributed.rank()) % 2**63)
    digits, validation = recipe.digits()
    order = torch.Generator().manual_seed(recipe.seed)
    sampler: DistributedSampler[Any] | None = None
    if recipe.processes > 1:  # it deals the digits out
        sampler = DistributedSampler(
            digits, distributed.size(), distributed.rank(), seed=recipe.seed
        )
    return Run(
        recipe=recipe,
        state=TrainingState(model, recipe.make_optimizer(model), order),
        model=model,
        device=device,
        train_loader=data.batches(digits, recipe.batch_size, True, order, sampler),
        sampler=sampler,
        validation_loader=data.batches(validation, 1_000),
        options=options,
    )


def _seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (takes 32 bits only)


def command_to_go_on(words: Sequence[str]) -> str:
    """Return what goes on with a run that these words began: a command line."""
    if distributed.size() > 1:  # only torchrun knows the options of its own
        return "the same torchrun, on every machine, with --resume at its end"
    found = os.path.normcase(shutil.which("python") or "")
    python = "python" if found == os.path.normcase(sys.executable) else sys.executable
    resume = [] if "--resume" in words else ["--resume"]
    command = [python, "-m", "helpers.train", *words, *resume]
    if os.name != "nt":
        return shlex.join(command)
    call = "& " if " " in python else ""  # PowerShell runs no quoted name without it
    return call + subprocess.list2cmdline(command)


@contextlib.contextmanager
def _only_run_in(folder: Path) -> Iterator[None]:
    """Refuse a folder in which another process is training."""
    with contextlib.ExitStack() as held:
        if distributed.rank() == 0:  # it holds the lock for all processes
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(folder / ".lock", timeout=0))
            except TimeoutError:
                raise OptionError(
                    f"another process is training in {folder}: wait for it, or name "
                    f"another folder with --out"
                ) from None
            except OSError as error:
                raise OptionError(
                    f"--out {folder}: cannot write there ({error.strerror or error})"
                ) from error
        yield


if __name__ == "__main__":
    sys.exit(main())
