"""The programs that measure the book's figures, tried on a few digits."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import fast_digits
import fast_photographs
import numpy as np
import pytest
import speed
import torch
import torch.nn.functional as F
from book_files import ROOT, read_cells
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.torch_version import TorchVersion
from torch.utils.data import Subset
from writing import Missing, median

from helpers import data, records
from helpers.device import time_calls


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


def cells(chapter: str, *words: str) -> list[str]:
    """Return the code cells of a chapter in which the words stand, in their order."""
    sources = [c["source"] for c in read_cells(ROOT / f"book/{chapter}.ipynb", "code")]
    found = [[source for source in sources if word in source] for word in words]
    assert [len(each) for each in found] == [1] * len(words)
    return [source for (source,) in found]


def keep_only(module: ModuleType, monkeypatch, part: str, *names: str) -> None:
    """Leave out the runs of a part that would take the longest."""
    whole = module.PARTS[part]
    runs, seeds = (
        {name: kept[name] for name in names} for kept in (whole.runs, whole.seeds)
    )
    shorter = dataclasses.replace(whole, runs=runs, seeds=seeds)
    monkeypatch.setitem(module.PARTS, part, shorter)


# --- Records ------------------------------------------------------------------------


def test_record_of_whole_runs(run, tmp_path, monkeypatch, capsys):
    keep_only(run, monkeypatch, "digits", "fast", "001", "004")
    assert measure(run, tmp_path, "digits", "--note", "in a test") == 0
    content = read(tmp_path / "digits.json")
    assert list(content["runs"]) == list(content["summary"]) == ["fast", "001", "004"]
    fast, other = content["runs"]["fast"], content["runs"]["001"]
    assert fast["about"]["batches"] == "of bytes"
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
    steps = [step for step in digits.STEPS.values() if not step.left_out]
    assert steps[0] == dataclasses.replace(
        digits.EXAMPLES, title=steps[0].title, num_epochs=1
    )
    assert dataclasses.replace(steps[-1], title=digits.FAST.title) == digits.FAST
    for network in sorted({step.network for step in steps}):
        logits = digits.NETWORKS[network]()(torch.zeros(2, 1, 28, 28))
        assert tuple(logits.shape) == (2, 10)


def test_record_of_steps(run, tmp_path, monkeypatch):
    keep_only(run, monkeypatch, "steps", "crop", "bytes", "bfloat16")
    measure(run, tmp_path, "steps")
    for name, row in read(tmp_path / "steps.json")["runs"].items():
        assert row["about"]["left_out"] is (name == "bfloat16")
        assert row["median"]["epoch"] == 1
        assert 0 <= row["median"]["accuracy"] <= 1
        assert row["median"]["seconds"] > 0


def hold(megabytes):
    """Return how much more memory a process held with a tensor of this size."""
    before = speed.memory()
    torch.ones(megabytes, 1_000_000, dtype=torch.uint8)
    return {"megabytes": speed.memory(at_most=True) - before}


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell a process's memory")
def test_growth_is_measured(run):
    """In this process; what one holds at most, in a fresh one."""
    row = run.speed._grow(140, 0, torch.device("cpu"))
    assert row["digits"] == 140
    assert row["seconds"] > 0
    held = run.speed.in_fresh_process(hold, 200)["megabytes"]
    assert 195 < held < 215


def test_compilation_is_measured(run):
    """Without the fresh process that it takes, which has to import torch."""
    row = run.speed._step_seconds("plain", 0, torch.device("cpu"))
    assert row["later"] > 0
    assert row["first"] > 0


# --- The summary --------------------------------------------------------------------


def row(title: str, *runs: tuple[int, float, float]) -> dict:
    """Return a recipe's entry with runs of given epochs, seconds and accuracy."""
    seeds = []
    for seed, (epoch, seconds, accuracy) in enumerate(runs):
        last = {"epoch": epoch, "seconds": seconds, "accuracy": accuracy}
        seeds.append({"seed": seed, "epochs": [last | {"cpu_seconds": 2 * seconds}]})
    return {"about": {"title": title}, "seeds": seeds}


def summary_of(run: ModuleType, folder: Path, **runs: dict) -> dict:
    for entry in runs.values():
        entry["median"] = median(entry["seeds"])
    return run.digits.summarize(runs, folder)


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
    assert fast["worst_accuracy"] == 0.985
    assert (fast["seconds"], fast["cpu_seconds"]) == (3.0, 6.0)
    assert fast["times_seconds"] == 1
    assert examples["epochs"] == 4.5
    assert examples["seconds"] == 165
    assert examples["times_seconds"] == examples["times_cpu_seconds"] == 55
    assert examples["times_epoch"] == pytest.approx((150 / 4 + 180 / 5) / 2 / 3)


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


def test_what_is_tried_is_kept_from_the_records(run, capsys):
    """Other wrong options: see test_reproduce.py."""
    with pytest.raises(SystemExit, match="2"):
        run.main(["digits", "--limit", "10"])
    assert "name another folder with --out" in capsys.readouterr().err


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
def few(run, monkeypatch):
    """Noise in place of photographs; one epoch; and all speeds are made up."""
    photographs = run.photographs
    photographs.parts.cache_clear()
    monkeypatch.setattr(data, "cifar10", lambda split: FewPhotographs(False))
    monkeypatch.setattr(photographs, "time_step", lambda *arguments: 0.5)
    monkeypatch.setattr(fast_photographs, "pictures_per_second", lambda dtype: 1.0)
    for name, recipe in photographs.RECIPES.items():
        short = dataclasses.replace(recipe, num_epochs=1)
        monkeypatch.setitem(photographs.RECIPES, name, short)
    yield photographs
    photographs.parts.cache_clear()


def test_record_of_photographs(run, few, tmp_path, monkeypatch):
    keep_only(run, monkeypatch, "photographs", "one-cycle", "best", "best-bfloat16")
    assert measure(run, tmp_path, "photographs") == 0
    content = read(tmp_path / "photographs.json")
    assert content["examples"] == [70, 70, 70]
    assert content["speed"]["batch_sizes"][2]["images_per_second"] == 8
    assert content["runs"].keys() == {"one-cycle", "best"}
    for row in content["runs"].values():
        (record,) = row["seeds"]
        assert np.sum(record["test"]["confusion_matrix"]) == 70
        assert record["epochs"][-1]["seconds"] <= record["seconds"]
    before, after = content["runs"]["one-cycle"]["seeds"][0]["epochs"]
    assert "train_loss" not in before
    assert after.keys() - before.keys() == {"train_loss", "train_accuracy"}
    # It saw the same 70 photographs in both measurements, once as they are.
    assert after["seen_loss"] != after["train_loss"]


def test_best_recipe_takes_bfloat16_where_it_is_fast(run, few, tmp_path, monkeypatch):
    speeds = {torch.float32: 1.0, torch.bfloat16: 4.0}
    monkeypatch.setattr(fast_photographs, "pictures_per_second", speeds.get)
    keep_only(run, monkeypatch, "photographs", "best", "best-bfloat16")
    assert measure(run, tmp_path, "photographs") == 0
    ((name, row),) = read(tmp_path / "photographs.json")["runs"].items()
    assert name == "best-bfloat16"
    assert row["seeds"][0]["plan"]["dtype"] == "bfloat16"


def test_time_of_a_step_is_measured(run):
    cpu = torch.device("cpu")
    seconds = run.photographs.time_step(run.photographs.PhotoNet(), 1, cpu)
    assert 0 < seconds < 10


def test_nothing_is_recorded_of_the_stand_in(run, few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "cifar10", lambda split: FewPhotographs(True))
    for part in ("photographs", "residual"):
        assert run.main([part, "--out", str(tmp_path)]) == 0
        printed = capsys.readouterr().out
        assert f"{part}: left out, for there are no photographs here" in printed
    assert not list(tmp_path.iterdir())


def test_record_of_depths(run, few, tmp_path, monkeypatch):
    for name, stack in run.depth.STACKS.items():
        short = dataclasses.replace(stack, num_epochs=1, batch_size=35)
        monkeypatch.setitem(run.depth.STACKS, name, short)
    measure(run, tmp_path, "residual")
    runs = read(tmp_path / "residual.json")["runs"]
    sizes = {(r["about"]["depth"], r["seeds"][0]["parameters"]) for r in runs.values()}
    assert len(runs) == 4
    assert len(sizes) == 2, "shortcuts cost no parameters"


# --- The recipes that the book shows ------------------------------------------------


def test_fast_recipe_learns(run):
    digits = data.mnist("train")
    pixels, labels = digits.data[:8_000], digits.targets[:8_000]
    model = fast_digits.train_fast(pixels, labels, seed=0, num_seen=6_000).eval()
    right = model(fast_digits.to_images(pixels[6_000:])).argmax(1) == labels[6_000:]
    assert right.float().mean() > 0.8
    images = data.to_tensors(Subset(digits, range(9))).tensors[0]
    assert torch.allclose(fast_digits.to_images(pixels[:9]), images, atol=1e-5)


def test_chapter_11_shows_what_is_measured():
    """The recipe that the reader sees gives the same weights as that of the records."""
    names = {"torch": torch, "nn": nn, "F": F, "data": data}
    names |= {"AdamW": AdamW, "OneCycleLR": OneCycleLR}
    wanted = ("class FastNet(", "def train_fast(", "def distort(")
    for source in cells("11-faster", *wanted):
        exec(source, names)
    digits = data.mnist("train")
    few = digits.data[:400], digits.targets[:400]
    shown = names["train_fast"](*few, seed=1, num_seen=390).state_dict()
    measured = fast_digits.train_fast(*few, seed=1, num_seen=390).state_dict()
    assert shown.keys() == measured.keys()
    assert all(torch.equal(shown[key], measured[key]) for key in shown)
    distorted = []
    for distort in (names["distort"], fast_digits.distort):
        torch.manual_seed(2)
        distorted.append(distort(few[0]))
    assert torch.equal(*distorted)


def test_distorted_digits_are_the_same_digits_elsewhere():
    digits = data.mnist("train").data[:200]
    torch.manual_seed(0)
    distorted = fast_digits.distort(digits)
    assert distorted.shape == digits.shape
    moved = (distorted - digits).flatten(1).abs().mean(1)
    assert (moved > 0).all()
    ink, before = distorted.sum(), digits.sum()
    assert abs(ink / before - 1) < 0.1


def test_accurate_recipe_takes_the_mean_of_weights(run):
    digits = data.mnist("train")
    pixels, labels = digits.data[:512], digits.targets[:512]
    model = fast_digits.train_accurate(pixels, labels, 0, num_epochs=2)
    assert model.n_averaged == 4
    assert model(fast_digits.to_images(pixels[:3])).shape == (3, 10)


def test_whitened_patches_are_uncorrelated():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 34, 34), 3, stride=1)
    filters = fast_photographs.whitening(smooth)
    assert torch.equal(filters[:12], -filters[12:])
    out = torch.nn.functional.conv2d(smooth, filters[:12])
    covariance = torch.cov(out.transpose(0, 1).flatten(1))
    assert torch.allclose(covariance, torch.eye(12), atol=0.1)


def test_pieces_are_cut_out_of_their_pictures():
    rows = torch.arange(32.0).view(1, 1, 32, 1)
    pictures = (rows * 100 + torch.arange(32.0)).repeat(50, 3, 1, 1)
    torch.manual_seed(0)
    pieces = fast_photographs.pieces(pictures, 28)
    corners = pieces[:, 0, 0, 0].tolist()
    assert len(set(corners)) > 10
    for piece, corner in zip(pieces, corners, strict=True):
        top, left = divmod(int(corner), 100)
        expected = pictures[0, :, top : top + 28, left : left + 28]
        assert torch.equal(piece, expected)


@pytest.mark.parametrize(
    ("times", "plan"), [(1.4, fast_photographs.NARROW), (1.6, fast_photographs.WIDE)]
)
def test_plan_follows_from_what_was_measured(times, plan, monkeypatch):
    speeds = {torch.float32: 500.0, torch.bfloat16: 500.0 * times}
    monkeypatch.setattr(fast_photographs, "pictures_per_second", speeds.get)
    chosen, told = fast_photographs.choose_plan(torch.device("cpu"))
    assert chosen == plan
    assert told == {"float32": 500.0, "bfloat16": 500.0 * times}


def test_speed_of_a_format_is_measured(run, monkeypatch):
    """By one step in place of four, as bfloat16 is slow on many processors."""

    def time_once(step, device, warmup, repeats):
        return time_calls(step, device, warmup=0, repeats=1)

    monkeypatch.setattr(fast_photographs, "time_calls", time_once)
    assert fast_photographs.pictures_per_second(torch.bfloat16) > 0


# --- The GPU's figures --------------------------------------------------------------


def test_a_processor_is_not_recorded_as_a_gpu(tmp_path, capsys):
    import gpu

    of_a_gpu = {tmp_path / f"{name}.json": '{"runs": {}}' for name in [*gpu.PARTS][1:]}
    for path, record in of_a_gpu.items():  # the first is not there yet
        path.write_text(record)
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("for there is no GPU here") == len(gpu.PARTS)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == of_a_gpu


def test_an_older_pytorch_scales_no_gradients_on_a_mac(monkeypatch):
    import gpu

    monkeypatch.setattr(torch, "__version__", TorchVersion("2.7.1"))
    images = SimpleNamespace(device=torch.device("mps"))
    with pytest.raises(Missing, match=r"from PyTorch 2\.8 on"):
        gpu.make_step(nn.Linear(1, 1), images, None, torch.float16)


def test_every_part_is_tried_in_small(run, few, tmp_path, monkeypatch, capsys):
    """Without a GPU, but by the same command; and the chapters read what it wrote."""
    import gpu

    small = ["--device", "cpu", "--seeds", "1", "--limit", "40", "--out", str(tmp_path)]
    assert gpu.main(small) == 0
    told = capsys.readouterr().out
    assert told.count("for this device has no TF32") == 3
    assert told.count("for pinned memory is CUDA's") == 2
    assert "gpu-loop graph: left out, for CUDA graphs need a GPU" in told
    medians = {
        part: {name: row["median"] for name, row in runs.items()}
        for part in gpu.PARTS
        for runs in [read(tmp_path / f"{part}.json")["runs"]]
    }
    exact, short = (medians["gpu-matmul"][f"32/{f}"] for f in ("float32", "bfloat16"))
    assert exact["error"] < 1e-5 < short["error"] < 0.1
    (step,) = [row for name, row in medians["gpu-steps"].items() if "gpu" in name]
    assert step["images_per_second"] * step["step"] == pytest.approx(4)
    assert list(medians["gpu-loop"]) == [*list(gpu.loop_changes())[:4], "batch-1024"]
    assert medians["gpu-copy"].keys() == {"pageable"}
    assert len(medians["gpu-precision"]) == 6
    assert medians["gpu-compile"].keys() == {"FastNet, plain", "ResidualNet, plain"}
    assert medians["gpu-digits"]["examples"]["epoch"] == 14
    assert medians["gpu-photographs"].keys() == {"best", "wide"}

    monkeypatch.setattr(records, "FOLDER", tmp_path)
    exec(cells("10-gpu", 'f"gpu-{part}"')[0], {"records": records})
    exec(cells("11-faster", '"gpu-digits"')[0], {"records": records})
    shown = capsys.readouterr().out
    assert shown.count("measured on cpu") == 6
    assert "fast on cpu:" in shown
