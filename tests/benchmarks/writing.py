"""How the programs write their records, and what each record says of its making.

A part of the measurements has a file, which is written after each run. A run that
the file holds is left alone, so that a command that was stopped goes on.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from helpers import records
from helpers.device import choose_device, environment
from helpers.files import print_anything, replacing

# Takes a run's name, a seed, the device, and how many examples of each set to use.
Measure = Callable[[str, int, torch.device, int | None], dict[str, Any]]


class Missing(Exception):
    """Something that a measurement needs is not here; the message ends a sentence."""


@dataclass(frozen=True)
class Part:
    """Some figures that are measured the same way and kept in one file.

    ``facts`` tells what the file says of all runs. It and ``measure`` raise
    `Missing` if something that they need is not here.
    """

    measure: Measure
    runs: dict[str, dict[str, Any]]  # what is said of each run in the file
    seeds: dict[str, int]  # how often each is measured
    facts: Callable[[torch.device, int | None], dict[str, Any]] = lambda *_: {}
    summarize: Callable[[dict[str, Any], Path], dict[str, Any]] | None = None


def make_parser(text: str, kind: str, names: Iterable[str]) -> argparse.ArgumentParser:
    """Return what reads a command line that names what is to be measured.

    It explains itself by a program's docstring, and has the options of all programs.
    """
    print_anything()
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=text, formatter_class=shown)
    parser.set_defaults(kind=kind, known=list(names))
    parser.add_argument("names", nargs="*", metavar=kind.upper(), help=", ".join(names))
    parser.add_argument("--device", help="cpu, cuda, mps; chosen if left out")
    parser.add_argument(
        "--out", type=Path, default=records.FOLDER, help="folder of the files"
    )
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """Return the options, with all names where none was given, and the device."""
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in options.known:
            known = ", ".join(options.known)
            parser.error(f"no {options.kind} {name!r}; there are {known}")
    options.names = options.names or options.known
    try:
        options.device = choose_device(options.device)
    except ValueError as error:
        parser.error(str(error))
    return options


def in_fresh_process(
    task: Callable[..., dict[str, Any]], *arguments: object
) -> dict[str, Any]:
    """Return what a function returns in a Python that has done nothing before.

    It finds nothing that was compiled earlier, and has as many threads as this one.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        start = folder, torch.get_num_threads()
        with ProcessPoolExecutor(1, spawn, _begin, start) as pool:
            return pool.submit(task, *arguments).result()


def _begin(compiled: str, num_threads: int) -> None:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
    torch.set_num_threads(num_threads)


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


def measure_part(name: str, part: Part, options: argparse.Namespace) -> None:
    """Measure what the part's file does not hold yet; the options are run.py's."""
    device = options.device
    path = options.out / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    if options.again or not content:
        try:
            content = {"part": name, **part.facts(device, options.limit), "runs": {}}
        except Missing as missing:
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
            except Missing as missing:
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
