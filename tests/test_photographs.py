"""The eight photographs of chapter 9, and its network that somebody else trained."""

import re

import pytest
import torch
import torchvision
from book_files import CHAPTERS, ROOT, read_cells
from PIL import Image

from helpers import data

CHAPTER = next(path for path in CHAPTERS if path.stem == "09-photographs")
FOLDER = ROOT / "helpers" / "photographs"


def test_eight_photographs_are_the_files():
    pixels, names = data.eight_photographs()
    assert pixels.shape == (8, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert {f"{name}.png" for name in names} == {p.name for p in FOLDER.glob("*.png")}
    with Image.open(FOLDER / f"{names[2]}.png") as image:
        assert image.getpixel((5, 9)) == tuple(pixels[2, :, 9, 5].tolist())


def test_each_photograph_names_its_author_and_license_where_it_is_shown():
    sources = (FOLDER / "SOURCES.md").read_text(encoding="utf-8")
    prose = "\n".join(cell["source"] for cell in read_cells(CHAPTER, "markdown"))
    rows = re.findall(
        r"^\| `(\w+)\.png` \|[^|]+\| ([^|]+) \| ([^|]+) \|", sources, re.M
    )
    assert len(rows) == 8
    for name, author, license_name in rows:
        assert f"{name}: {author.partition(',')[0]}" in prose
        assert re.search(
            rf"{name}[^:|]*: {license_name.replace('CC0 1.0', 'CC0')}", prose
        )


@pytest.fixture(scope="module")
def random_network():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def run_the_cells():
    """Run what chapter 9 does with a pretrained network; return its names."""
    wanted = ("import", "photos, names =", "def pretrained_", "known = torchvision")
    cells = [cell["source"] for cell in read_cells(CHAPTER, "code")]
    found = [s for s in cells if s.startswith(wanted)]
    assert len(found) == len(wanted)
    names = {}
    for source in found:
        exec(source.replace("plt.show()", "plt.close()"), names)
    return names


@pytest.mark.parametrize("way", ["a file", "the file that was downloaded before"])
def test_weights_are_read_and_get_a_new_head(
    random_network, way, tmp_path, monkeypatch, capsys
):
    kind = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    path = tmp_path / "hub" / "checkpoints" / kind.url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    torch.save(random_network.state_dict(), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = str(path) if way == "a file" else "download"
    monkeypatch.setenv("RESNET18_WEIGHTS", asked)
    names = run_the_cells()
    with torch.no_grad():
        said = random_network(names["prepared"]).argmax(dim=1)
    printed = capsys.readouterr().out
    for name, answer in zip(names["names"], said, strict=True):
        line = next(line for line in printed.splitlines() if line.startswith(name))
        assert kind.meta["categories"][answer] in line
    learns = {n for n, w in names["resnet"].named_parameters() if w.requires_grad}
    assert learns == {"fc.weight", "fc.bias"}
    assert names["resnet"](names["prepared"]).shape == (8, 8)


def test_nothing_is_loaded_unless_somebody_asks(monkeypatch, capsys):
    monkeypatch.delenv("RESNET18_WEIGHTS", raising=False)
    assert run_the_cells()["resnet"] is None
    assert "not downloaded" in capsys.readouterr().out
