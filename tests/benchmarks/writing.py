"""How the programs write their records, and what each record says of its making.

A part of the measurements has a file, which is written after each run. A run that
the file holds is left alone, so that a command that was stopped goes on.
"""

import datetime
import json
import os
import statistics
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from helpers.device import environment
from helpers.files import replacing

# Takes a run's name, a seed, the device, and how many examples of each set to use.
Measure = Callable[[str, int, torch.device, int | None], dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """Some figures that are measured the same way and kept in one file.

    ``facts`` tells what the file says of all runs. It and ``measure`` raise
    `LookupError` if something that they need is missing here.
    """

    measure: Measure
    runs: dict[str, dict[str, Any]]  # what is said of each run in the file
    seeds: dict[str, int]  # how often each is measured
    facts: Callable[[torch.device, int | None], dict[str, Any]] = lambda *_: {}
    summarize: Callable[[dict[str, Any], Path], dict[str, Any]] | None = None


def stamp(device: torch.device, note: str = "") -> dict[str, Any]:
    """Return when, where and beside how much other work a figure was measured."""
    stamped: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(device),
    }
    if hasattr(os, "getloadavg"):  # not on Windows
        stamped["load"] = [round(load, 1) for load in os.getloadavg()]
    return stamped | ({"note": note} if note else {})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Put a record into its file, wholly or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def median(seeds: list[dict[str, Any]]) -> dict[str, float]:
    """Return the median over the seeds of each figure at the end of a run."""
    ends = [run["epochs"][-1] if "epochs" in run else run for run in seeds]
    return {
        key: statistics.median(end[key] for end in ends)
        for key, value in ends[0].items()
        if isinstance(value, int | float) and key != "seed"
    }


def measure_part(
    name: str, part: Part, device: torch.device, options: Namespace
) -> None:
    """Measure what the part's file does not hold yet.

    Parameters
    ----------
    options : Namespace
        ``out`` (folder of the files), ``seeds`` (at most so many a run),
        ``limit`` (examples of each set), ``again`` (measure once more) and ``note``.
    """
    path = options.out / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    if options.again or not content:
        try:
            content = {"part": name, **part.facts(device, options.limit), "runs": {}}
        except LookupError as missing:
            print(f"{name}: left out, {missing}", flush=True)
            return
    wanted = {
        key: min(count, options.seeds or count) for key, count in part.seeds.items()
    }
    # Seed by seed: so the recipes that are compared are measured close together.
    for seed in range(max(wanted.values())):
        for key in part.runs:
            about = json.loads(json.dumps(part.runs[key]))  # as a file has it
            row = content["runs"].get(key, {})
            if row.get("about") != about:  # another recipe of the same name
                row = content["runs"][key] = {"about": about, "seeds": []}
            if seed >= wanted[key] or seed in [run["seed"] for run in row["seeds"]]:
                continue
            try:
                record = part.measure(key, seed, device, options.limit)
            except LookupError as missing:
                print(f"{name} {key}: left out, {missing}", flush=True)
                wanted[key] = 0
                continue
            record = {"seed": seed} | record | stamp(device, options.note)
            row["seeds"].append(record)
            row["seeds"].sort(key=lambda run: run["seed"])
            row["median"] = median(row["seeds"])
            save(path, part, content)
            figures = {k: round(v, 4) for k, v in median([record]).items()}
            print(f"{name} {key} seed {seed}: {figures}", flush=True)
    save(path, part, content)  # the summary also reads another file


def save(path: Path, part: Part, content: dict[str, Any]) -> None:
    """Write a part's file, its runs in the order of the part."""
    runs = content["runs"]
    measured = [key for key in part.runs if runs.get(key, {}).get("seeds")]
    content["runs"] = {key: runs[key] for key in measured}
    if part.summarize:
        content["summary"] = part.summarize(content["runs"], path.parent)
    write_json(path, content)
