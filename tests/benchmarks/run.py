"""Measure the figures that chapters 10, 11 and 13 quote, side by side, on this machine.

``python tests/benchmarks/run.py`` measures all parts; name some to measure only
those. Each part has a file in helpers/records/, written after each run. A run that the
file holds is left alone: after a break, the same command goes on. ``--again``
measures once more.

digits       seconds and epochs until 99 % of the test digits are read
steps        from pytorch/examples' recipe to the book's, one change at a time
loading      an epoch, and the share of it spent waiting for data
compile      a training step, as it is and through torch.compile
growth       seconds and memory for an eighth, a quarter, a half and all digits
photographs  networks for CIFAR-10 (photographs.py; needs CIFAR-10)
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import digits
import photographs
import speed
import torch
from writing import stamp, write_json

from helpers import records
from helpers.device import choose_device

Measure = Callable[[str, int, torch.device, int | None], dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """Some figures that are measured the same way and kept in one file."""

    measure: Measure
    runs: dict[str, dict[str, Any]]  # what is said of each run in the file
    seeds: dict[str, int]  # how often each is measured


def described(recipes: dict[str, digits.Recipe]) -> dict[str, dict[str, Any]]:
    return {name: asdict(recipe) for name, recipe in recipes.items()}


LOADERS = ("plain", "2 workers", "in memory")
PARTS = {
    "digits": Part(
        digits.measure_on_test,
        described(digits.RECIPES),
        dict.fromkeys(digits.RECIPES, 2) | {"fast": 5, "examples": 3},
    ),
    "steps": Part(
        digits.measure_on_validation,
        described(digits.STEPS),
        dict.fromkeys(digits.STEPS, 3) | {"start": 2, "memory": 2},
    ),
    "loading": Part(
        speed.measure_loading,
        {name: {"network": "DropoutNet", "batch_size": 64} for name in LOADERS},
        dict.fromkeys(LOADERS, 3),
    ),
    "growth": Part(
        speed.measure_growth,
        {str(share): {"recipe": "fast", "share": share} for share in speed.SHARES},
        {str(share): 3 for share in speed.SHARES},
    ),
    "compile": Part(
        speed.measure_compile,
        {name: {"recipe": "fast", "step": name} for name in ("plain", "compiled")},
        {"plain": 1, "compiled": 1},
    ),
}


def measure_part(name: str, device: torch.device, options: argparse.Namespace) -> None:
    """Measure what the part's file does not hold yet."""
    part, path = PARTS[name], options.out / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    runs = {} if options.again else content.get("runs", {})
    wanted = part.seeds
    if options.seeds:
        wanted = {key: min(count, options.seeds) for key, count in wanted.items()}
    # Seed by seed: so the recipes that are compared are measured close together.
    for seed in range(max(wanted.values())):
        for key in part.runs:
            row = runs.setdefault(key, {"about": part.runs[key], "seeds": []})
            row["about"] = part.runs[key]
            if seed >= wanted[key] or seed in [run["seed"] for run in row["seeds"]]:
                continue
            record = part.measure(key, seed, device, options.limit)
            row["seeds"].append(record | stamp(device, options.note))
            row["seeds"].sort(key=lambda run: run["seed"])
            row["median"] = median(row["seeds"])
            save(name, runs, options.out)
            figures = {k: round(v, 4) for k, v in median([record]).items()}
            print(f"{name} {key} seed {seed}: {figures}", flush=True)
    save(name, runs, options.out)  # the summary also reads another file


def save(name: str, runs: dict[str, Any], folder: Path) -> None:
    """Write a part's file, its runs in the order of `PARTS`."""
    ordered = {key: runs[key] for key in PARTS[name].runs if key in runs}
    content: dict[str, Any] = {"part": name, "runs": ordered}
    if name == "digits":
        content["summary"] = summarize(ordered, folder)
    write_json(folder / f"{name}.json", content)


def median(seeds: list[dict[str, Any]]) -> dict[str, float]:
    """Return the median over the seeds of each figure at the end of a run."""
    ends = [run["epochs"][-1] if "epochs" in run else run for run in seeds]
    return {
        key: statistics.median(end[key] for end in ends)
        for key, value in ends[0].items()
        if isinstance(value, int | float) and key != "seed"
    }


def summarize(runs: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return for each recipe what it took to read 99 % of the test digits."""
    summary = {}
    for name, row in runs.items():
        if not row["seeds"]:
            continue
        ends = [run["epochs"][-1] for run in row["seeds"]]
        last = row["median"]
        summary[name] = {
            "title": row["about"]["title"],
            "reached": sum(end["accuracy"] >= 0.99 for end in ends),
            "of": len(ends),
            "mean_accuracy": statistics.fmean(end["accuracy"] for end in ends),
            "epochs": last["epoch"],
            "seconds": last["seconds"],
            "cpu_seconds": last["cpu_seconds"],
        }
    if "000" in summary:
        summary["000"] |= extrapolate(runs["000"]["median"], folder)
    for row in summary.values():
        if "fast" in summary:
            for key in ("seconds", "cpu_seconds"):
                row[f"times_{key}"] = row[key] / summary["fast"][key]
    return summary


def extrapolate(measured: dict[str, float], folder: Path) -> dict[str, Any]:
    """Tell how long tutorial 000 would take to its 98.86 %, from two epochs.

    The epochs that this takes are those of its own 40, unless the reproduced run
    in tutorial-000.json got there sooner.
    """
    epochs, source = 40, "the tutorial"
    path = folder / "tutorial-000.json"
    if path.exists():
        reached = [
            row["epoch"]
            for run in json.loads(path.read_text())["runs"]
            for row in run["epochs"]
            if row["test_accuracy"] >= 0.9886
        ]
        if reached:
            epochs, source = min(reached), path.name
    factor = epochs / measured["epoch"]
    return {
        "target": 0.9886,
        "extrapolated_from_epochs": measured["epoch"],
        "epochs": epochs,
        "epochs_from": source,
        "seconds": measured["seconds"] * factor,
        "cpu_seconds": measured["cpu_seconds"] * factor,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    names = [*PARTS, "photographs"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument("--seeds", type=int, help="at most so many a recipe")
    parser.add_argument("--limit", type=int, help="digits of each set, to try it out")
    parser.add_argument("--threads", type=int, help="of PyTorch; else one a core")
    parser.add_argument("--device", help="cpu, cuda, mps; chosen if left out")
    parser.add_argument("--again", action="store_true", help="measure once more")
    parser.add_argument("--note", default="", help="on the machine, for the record")
    parser.add_argument(
        "--out", type=Path, default=records.FOLDER, help="folder of the files"
    )
    options = parser.parse_args(arguments)
    for name in options.parts:
        if name not in names:
            parser.error(f"no part {name!r}; there are {', '.join(names)}")
    if options.limit and options.out == records.FOLDER:
        parser.error("--limit is for trying: name another folder with --out")
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    for name in options.parts or names:
        if name in PARTS:
            measure_part(name, device, options)
            continue
        passed = ["--out", str(options.out / "photographs.json")]
        passed += ["--note", options.note, "--device", device.type]
        passed += ["--again"] * options.again
        passed += ["--limit", str(options.limit)] if options.limit else []
        photographs.main(passed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
