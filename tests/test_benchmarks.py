"""The programs that measure the book's figures, tried on a few digits."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from helpers import data, records


@pytest.fixture(scope="module")
def run() -> Iterator[ModuleType]:
    """The program tests/benchmarks/run.py as a module, computing in one thread."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    import run

    yield run
    torch.set_num_threads(num_threads)


def measure(run: ModuleType, out: Path, *words: str) -> int:
    options = ["--seeds", "1", "--limit", "70", "--device", "cpu", "--out", str(out)]
    return run.main([*words, *options])


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def keep_only(run: ModuleType, monkeypatch, part: str, *names: str) -> None:
    """Leave out the runs of a part that would take the longest."""
    runs = {name: run.PARTS[part].runs[name] for name in names}
    shorter = dataclasses.replace(run.PARTS[part], runs=runs)
    monkeypatch.setitem(run.PARTS, part, shorter)


# --- Records ------------------------------------------------------------------------


def test_record_of_whole_runs(run, tmp_path, monkeypatch, capsys):
    keep_only(run, monkeypatch, "digits", "fast", "001", "004")
    assert measure(run, tmp_path, "digits", "--note", "in a test") == 0
    content = read(tmp_path / "digits.json")
    assert list(content["runs"]) == list(content["summary"]) == ["fast", "001", "004"]
    fast, other = content["runs"]["fast"], content["runs"]["001"]
    assert fast["about"]["optimizer"] == "AdamW"
    (seed,) = fast["seeds"]
    assert seed["seed"] == 0
    assert seed["note"] == "in a test"
    assert seed["environment"]["threads"] == 1
    assert [row["epoch"] for row in seed["epochs"]] == [1]
    assert len(other["seeds"][0]["epochs"]) <= 8
    times = [row["seconds"] for row in other["seeds"][0]["epochs"]]
    assert times == sorted(times)
    assert other["median"] == other["seeds"][0]["epochs"][-1]
    assert capsys.readouterr().out.count("\n") == 3


def test_a_run_that_the_file_holds_is_left_alone(run, tmp_path, monkeypatch, capsys):
    keep_only(run, monkeypatch, "loading", "plain", "in memory")
    measure(run, tmp_path, "loading")
    path = tmp_path / "loading.json"
    before = read(path)
    assert "loading plain seed 0" in capsys.readouterr().out
    measure(run, tmp_path, "loading")
    assert capsys.readouterr().out == ""
    assert read(path) == before

    missing = read(path)
    missing["runs"]["plain"]["seeds"] = []
    path.write_text(json.dumps(missing))
    measure(run, tmp_path, "loading")
    assert capsys.readouterr().out.count("\n") == 1
    after = read(path)
    assert after["runs"]["in memory"] == before["runs"]["in memory"]
    assert len(after["runs"]["plain"]["seeds"]) == 1

    measure(run, tmp_path, "loading", "--again")
    assert capsys.readouterr().out.count("\n") == 2
    again = read(path)["runs"]["in memory"]["seeds"]
    assert len(again) == 1
    assert again != before["runs"]["in memory"]["seeds"]
    assert 0 < again[0]["share"] < 1


def test_a_chapter_reads_a_record_by_its_name():
    assert records.read("digits")["part"] == "digits"
    with pytest.raises(ValueError, match="no record 'digit', only compile, digits"):
        records.read("digit")


def test_every_step_changes_one_thing(run):
    """And each of the networks on the way really takes digits."""
    digits = run.digits
    steps = [step for name, step in digits.STEPS.items() if name in digits.CHANGES]
    assert steps[0] == dataclasses.replace(
        digits.EXAMPLES, title=steps[0].title, num_epochs=1
    )
    assert dataclasses.replace(steps[-1], title=digits.FAST.title) == digits.FAST
    for network in sorted({step.network for step in steps}):
        logits = digits.NETWORKS[network]()(torch.zeros(2, 1, 28, 28))
        assert tuple(logits.shape) == (2, 10)


@pytest.mark.parametrize("name", ["crop", "bfloat16"])
def test_record_of_a_step(run, tmp_path, monkeypatch, name):
    keep_only(run, monkeypatch, "steps", name)
    measure(run, tmp_path, "steps")
    median = read(tmp_path / "steps.json")["runs"][name]["median"]
    assert median["epoch"] == 1
    assert 0 <= median["accuracy"] <= 1
    assert median["seconds"] > 0


def test_growth_and_compilation_are_measured(run, tmp_path, monkeypatch):
    """Without the fresh process that both take, which has to import torch."""
    cpu = torch.device("cpu")
    row = run.speed._grow(140, 0, cpu, 1)
    assert row["digits"] == 140
    assert row["seconds"] > 0
    assert row["megabytes"] >= 0
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # to be put back afterwards
    row = run.speed._step_seconds("plain", 0, cpu, 1, str(tmp_path))
    assert row["later"] > 0
    assert row["first"] > 0


# --- The summary --------------------------------------------------------------------


def row(title: str, *runs: tuple[int, float, float]) -> dict:
    """Return a recipe's entry with runs of given epochs, seconds and accuracy."""
    seeds = [
        {
            "seed": seed,
            "epochs": [
                {
                    "epoch": epoch,
                    "seconds": seconds,
                    "cpu_seconds": 2 * seconds,
                    "accuracy": accuracy,
                }
            ],
        }
        for seed, (epoch, seconds, accuracy) in enumerate(runs)
    ]
    return {"about": {"title": title}, "seeds": seeds}


def summary_of(run: ModuleType, folder: Path, **runs: dict) -> dict:
    for entry in runs.values():
        entry["median"] = run.median(entry["seeds"])
    return run.summarize(runs, folder)


def test_summary_of_a_file(run, tmp_path):
    summary = summary_of(
        run,
        tmp_path,
        fast=row("ours", (1, 4.0, 0.992), (1, 2.0, 0.99), (1, 3.0, 0.985)),
        examples=row("theirs", (4, 150.0, 0.9901), (5, 180.0, 0.9905)),
    )
    fast, examples = summary["fast"], summary["examples"]
    assert (fast["reached"], fast["of"]) == (2, 3)
    assert fast["mean_accuracy"] == pytest.approx(0.989)
    assert (fast["seconds"], fast["cpu_seconds"]) == (3.0, 6.0)
    assert fast["times_seconds"] == 1
    assert examples["epochs"] == 4.5
    assert examples["seconds"] == 165
    assert examples["times_seconds"] == examples["times_cpu_seconds"] == 55


def test_tutorial_000_is_worked_out_from_two_epochs(run, tmp_path):
    runs = {"fast": row("ours", (1, 3.0, 0.99)), "000": row("000", (2, 60.0, 0.92))}
    slow = summary_of(run, tmp_path, **runs)["000"]
    assert (slow["epochs"], slow["epochs_from"]) == (40, "the tutorial")
    assert slow["seconds"] == 1200
    assert slow["times_seconds"] == 400

    epochs = [{"epoch": n, "test_accuracy": 0.985 + n / 10_000} for n in range(1, 41)]
    reproduced = {"runs": [{"epochs": epochs}]}
    (tmp_path / "tutorial-000.json").write_text(json.dumps(reproduced))
    slow = summary_of(run, tmp_path, **runs)["000"]
    assert (slow["epochs"], slow["epochs_from"]) == (36, "tutorial-000.json")
    assert slow["seconds"] == pytest.approx(36 * 30)


# --- Refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--limit", "10"], "name another folder with --out"),
        (["figures"], "no part 'figures'; there are digits, steps, loading"),
    ],
)
def test_wrong_options(run, arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best", "--limit", "10"], "name another file with --out"),
        (["worst"], "no run 'worst'; there are tutorial, batch-4"),
    ],
)
def test_wrong_options_for_photographs(run, arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run.photographs.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


# --- Photographs --------------------------------------------------------------------


class FewPhotographs(torch.utils.data.Dataset):
    """What `helpers.data.cifar10` returns, with noise in place of photographs."""

    source = "noise"
    classes = list("abcdefghij")

    def __init__(self, is_stand_in: bool) -> None:
        self.is_stand_in = is_stand_in
        rng = np.random.default_rng(0)
        self.data = rng.integers(256, size=(700, 32, 32, 3), dtype=np.uint8)
        self.targets = [index % 10 for index in range(700)]

    def __len__(self) -> int:
        return 700


@pytest.fixture
def quick(run, monkeypatch):
    """Leave out what takes the longest: the timing, and all epochs but one."""
    photographs = run.photographs
    monkeypatch.setattr(data, "cifar10", lambda split: FewPhotographs(False))
    monkeypatch.setattr(photographs, "time_step", lambda *arguments: 0.5)
    for name, recipe in photographs.RECIPES.items():
        short = dataclasses.replace(recipe, num_epochs=1)
        monkeypatch.setitem(photographs.RECIPES, name, short)
    return photographs


def test_record_of_photographs(run, quick, tmp_path, capsys):
    path = tmp_path / "photographs.json"
    assert quick.main(["one-cycle", "--limit", "70", "--out", str(path)]) == 0
    first = read(path)
    assert first["examples"] == [70, 70, 70]
    assert first["speed"]["batch_sizes"][2]["images_per_second"] == 8
    record = first["runs"]["one-cycle"]
    assert [row["epoch"] for row in record["epochs"]] == [0, 1]
    assert np.sum(record["test"]["confusion_matrix"]) == 70
    assert "one-cycle: + one cycle" in capsys.readouterr().out

    assert measure(run, tmp_path, "photographs") == 0
    assert "one-cycle" not in capsys.readouterr().out
    second = read(path)
    assert list(second["runs"]) == list(quick.RECIPES)
    assert second["runs"]["one-cycle"] == record


def test_time_of_a_step_is_measured(run):
    cpu = torch.device("cpu")
    seconds = run.photographs.time_step(run.photographs.PhotoNet(), 1, cpu)
    assert 0 < seconds < 10


def test_nothing_is_recorded_of_the_stand_in(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "cifar10", lambda split: FewPhotographs(True))
    path = tmp_path / "photographs.json"
    assert quick.main(["tutorial", "--out", str(path)]) == 1
    assert "no photographs here" in capsys.readouterr().out
    assert not path.exists()
