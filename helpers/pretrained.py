"""Trained networks for the chapters, trained once and kept."""

import contextlib
import hashlib
import inspect
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR
from tqdm import tqdm

from helpers import checkpoint, data, evaluation, models, recipe, training
from helpers.checkpoint import CheckpointError
from helpers.data._cache import cannot_write
from helpers.evaluation import Batches
from helpers.files import locked
from helpers.recipe import Recipe
from helpers.training import History, fit

RECIPES = {
    "dropout": Recipe(),
    # Goes on from where "dropout" ended: every batch is changed, nothing is dropped
    # out, and the learning rate falls to zero.
    "varied": Recipe(epochs=5, lr=0.02),
}


def trained_model(name: str = "dropout") -> tuple[nn.Module, History]:
    """Return a network trained by one of the book's recipes, and its history.

    The first call trains it, and shows how far it is; it keeps the network under
    `helpers.data.cache_folder()`, and later calls load it. If several processes call
    at once, one trains and the others wait. Global random state stays as it was.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.

    Returns
    -------
    (nn.Module, dict)
        The network on the CPU in evaluation mode, and what
        `helpers.training.fit` returned.

    Raises
    ------
    ValueError
        If there is no recipe of that name.
    helpers.data.DataError, helpers.checkpoint.CheckpointError
        If the cache folder cannot be written.
    """
    if name not in RECIPES:
        raise ValueError(f"name must be one of {', '.join(RECIPES)}, not {name!r}")
    key = _cache_key(name)
    path = data.cache_folder() / "trained" / f"{name}-{key[:16]}.pt"
    found = _load(path, RECIPES[name])
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            # Another process may have trained it while this one waited.
            found = _load(path, RECIPES[name])
            if found is None:
                found = train(name)
                for left_over in path.parent.glob(f"{path.name}.*.partial"):
                    left_over.unlink(missing_ok=True)
                content = {"model": found[0].state_dict(), "history": found[1]}
                checkpoint.write(content, path)
    except OSError as error:
        raise cannot_write(Path(error.filename or path), error) from error
    return found


def train(
    name: str,
    epochs: int | None = None,
    watch: Callable[[nn.Module, int], None] = lambda model, step: None,
) -> tuple[nn.Module, History]:
    """Train as chapters 5 and 7 do, and keep nothing.

    This function's text is part of the cache key.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    epochs : int, optional
        How many there are to be, in place of the recipe's.
    watch : callable
        Takes the network and how many steps it has taken: before the first of
        them, and after each.

    Returns
    -------
    (nn.Module, dict)
        As `trained_model`.
    """
    recipe = RECIPES[name]
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    train_set, validation_set = recipe.digits()
    order = torch.Generator().manual_seed(recipe.seed)
    plain = data.batches(train_set, recipe.batch_size, shuffle=True, generator=order)
    loader: Batches = plain
    steps = recipe.epochs * len(plain)
    bar = tqdm(total=steps, desc=f'training "{name}"', mininterval=1, leave=False)
    with torch.random.fork_rng(devices=[]), contextlib.ExitStack() as end, bar:
        # With one thread, the sums are the same whatever the number of cores. For
        # networks this small it is nearly as fast as two, and where several notebooks
        # run at once it is much faster: threads do not wait for each other.
        end.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        # torch.manual_seed would also reseed the GPUs, which stay untouched.
        torch.default_generator.manual_seed(recipe.seed)
        model = recipe.make_model()
        optimizer = recipe.make_optimizer(model)
        schedule = None
        if name == "varied":
            model.load_state_dict(trained_model("dropout")[0].state_dict())
            loader = data.Augmented(loader, data.vary)
            for layer in model.modules():
                if isinstance(layer, nn.Dropout | nn.Dropout2d):
                    layer.p = 0
            schedule = LinearLR(optimizer, 1, end_factor=0, total_iters=steps)

        step = itertools.count(1)

        def after_step(*_: object) -> None:
            bar.update()
            if schedule is not None:
                schedule.step()
            watch(model, next(step))

        watch(model, 0)
        history = fit(
            model,
            loader,
            data.batches(validation_set, 1_000),
            nn.CrossEntropyLoss(),
            optimizer,
            torch.device("cpu"),
            recipe.epochs,
            after_step,
        )
        trained = recipe.make_model()  # with dropout again, for who trains it further
        trained.load_state_dict(model.state_dict())
    return trained.eval(), history


def _cache_key(name: str) -> str:
    """Return a checksum of all that the trained weights depend on.

    The sources of `helpers.data` hold the md5 sums of MNIST, so the data is
    covered too. All recipes count, since a network may go on with another's.
    """
    digest = hashlib.sha256(f"{name} {RECIPES} {torch.__version__}".encode())
    digest.update(inspect.getsource(train).encode())
    for module in (data, models, training, evaluation, recipe):
        source = Path(inspect.getfile(module))
        files = source.parent.glob("*.py") if module is data else [source]
        for file in sorted(files):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _load(path: Path, recipe: Recipe) -> tuple[nn.Module, History] | None:
    """Return what `path` holds, or None if that is missing, damaged or other."""
    try:
        content = checkpoint.read(path)
        with torch.random.fork_rng(devices=[]):  # first weights are drawn too
            model = recipe.make_model()
        model.load_state_dict(content["model"])
    except (CheckpointError, KeyError, RuntimeError):
        return None
    return model.eval(), content["history"]
