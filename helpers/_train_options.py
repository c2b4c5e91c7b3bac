"""The options of ``python -m helpers.train``, and the recipe that they ask for."""

import argparse
import math
from pathlib import Path
from typing import Any, NoReturn

from helpers import checkpoint, distributed
from helpers.distributed import Team
from helpers.models import MODELS

PHOTO_MODELS = {"photo", "residual"}  # take (batch, 3, 32, 32); see chapter 9
DIGIT_MODELS = [name for name in MODELS if name not in PHOTO_MODELS]
NUM_DIGITS = 60_000

# What decides the weights. A resumed run takes these from its checkpoint; an
# option that says otherwise is refused. None stands for what follows from the
# others: the learning rate from the optimizer, no limit.
RECIPE: dict[str, Any] = {
    "model": "dropout",
    "batch_size": 64,
    "optimizer": "sgd",
    "lr": None,
    "momentum": None,
    "seed": 0,
    "validation": 5_000,
    "limit": None,
}
STANDARD_EPOCHS = 3
LEARNING_RATES = {"sgd": 0.01, "adam": 0.001}
STANDARD_MOMENTUM = 0.9


class OptionError(Exception):
    """The options ask for something that cannot be done; the message says what."""


# --- Reading the command line ------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        once = f"{self.prog}: error: {message}\n" if distributed.is_first() else None
        self.exit(2, once)


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line, and explains it with ``--help``."""
    parser = _Parser(
        prog="python -m helpers.train",
        description="Train one of the book's networks on the MNIST digits.",
    )
    add = parser.add_argument
    add("--model", type=_model, metavar="NAME", help=", ".join(DIGIT_MODELS))
    add("--epochs", type=_whole, help=f"times through the data ({STANDARD_EPOCHS})")
    add("--batch-size", type=_whole, help="digits a step, in each process (64)")
    add("--optimizer", choices=list(LEARNING_RATES), help="(sgd)")
    add("--lr", type=_rate, help="learning rate (sgd: 0.01, adam: 0.001)")
    add("--momentum", type=_momentum, help=f"of sgd ({STANDARD_MOMENTUM})")
    add("--seed", type=_seed, help="of the weights, the order and the dropout (0)")
    add("--validation", type=_whole, metavar="N", help="digits held back (5000)")
    add("--limit", type=_whole, metavar="N", help="train on the first N digits only")
    add("--device", metavar="NAME", help="cpu, cuda, mps, ... (the fastest found)")
    add("--out", type=Path, metavar="FOLDER", help="of checkpoints (runs/MODEL)")
    add("--save-every", type=_whole, default=200, metavar="N", help="steps (200)")
    add("--keep", type=_whole, default=3, metavar="K", help="checkpoints (3)")
    add("--resume", action="store_true", help="go on with the run in --out")
    return parser


def _model(text: str) -> str:
    if text in PHOTO_MODELS:
        raise argparse.ArgumentTypeError(
            f"{text} takes 32x32 color photographs (chapter 9 trains it), and this "
            f"command trains on digits; choose from {', '.join(DIGIT_MODELS)}"
        )
    if text not in DIGIT_MODELS:
        raise argparse.ArgumentTypeError(
            f"there is no network {text!r}; choose from {', '.join(DIGIT_MODELS)}"
        )
    return text


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 to 2**63 - 1"
        )
    return int(text)


def _rate(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _momentum(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to below 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


# --- From options to a recipe ------------------------------------------------


def recipe_for(
    options: argparse.Namespace, saved: Path | None, team: Team
) -> dict[str, Any]:
    """Return the recipe: from the checkpoint, the options, or the standard one."""
    asked = {
        name: getattr(options, name)
        for name in RECIPE
        if getattr(options, name) is not None
    }
    settings: dict[str, Any]
    if saved is None:
        settings = RECIPE | asked
        _complete(settings)
        if team.size > 1:
            settings["processes"] = team.size
        return settings | {"epochs": options.epochs or STANDARD_EPOCHS}
    settings = checkpoint.read(saved).get("settings", {})
    if not {*RECIPE, "epochs"} <= set(settings):
        raise OptionError(f"--resume: {saved} was not saved by this command")
    processes = settings.get("processes", 1)
    if processes != team.size:
        go_on = resume_command(saved.parent, processes)
        raise OptionError(
            f"--resume: {saved.parent} goes on in as many processes as it began in, "
            f"{processes} and not {team.size}: {go_on}"
        )
    contradictions = [
        f"--{name.replace('_', '-')} {settings[name]} (not {value})"
        for name, value in asked.items()
        if value != settings[name]
    ]
    if contradictions:
        raise OptionError(
            f"--resume: {saved.parent} was trained with {', '.join(contradictions)}; "
            f"leave these options out, or start another run with another --out"
        )
    return settings | {"epochs": options.epochs or settings["epochs"]}


def _complete(settings: dict[str, Any]) -> None:
    """Fill in what follows from the other settings, and refuse what cannot be."""
    if settings["lr"] is None:
        settings["lr"] = LEARNING_RATES[settings["optimizer"]]
    if settings["optimizer"] == "sgd" and settings["momentum"] is None:
        settings["momentum"] = STANDARD_MOMENTUM
    if settings["optimizer"] != "sgd" and settings["momentum"] is not None:
        raise OptionError(f"--momentum: {settings['optimizer']} has no momentum to set")
    left = NUM_DIGITS - settings["validation"]
    if left < 1:
        raise OptionError(
            f"--validation {settings['validation']}: must leave some of the "
            f"{NUM_DIGITS} digits to train on"
        )
    if settings["limit"] is not None and settings["limit"] > left:
        raise OptionError(
            f"--limit {settings['limit']}: there are {left} training digits beside "
            f"the {settings['validation']} for validation"
        )


def resume_command(folder: Path, processes: int) -> str:
    """Return the command that goes on with the run in a folder."""
    start = f"torchrun --nproc-per-node={processes}" if processes > 1 else "python"
    return f"{start} -m helpers.train --resume --out {folder}"
