"""The page "Draw a digit": its script, its network, and how it is used.

It is tested in the built site, as in test_site.py, in a real browser.
"""

import base64
import contextlib
import json
import re
from types import SimpleNamespace

import booksite_draw
import numpy as np
import pytest
import torch
from browser import (
    PHONE,
    SITE,
    UNFOLD,
    axe_violations,
    fits_a_phone,
    latin_words,
    says,
    slide,
    visits,
)

from helpers import data, pretrained
from helpers.models import DropoutNet
from helpers.pretrained import trained_model
from helpers.training import fit

SCRIPT = SITE / booksite_draw.SCRIPT
# Lines through points "xy" of a field of 10 by 10; a comma lifts the pen.
DIGITS = {
    0: "50 21 14 17 59 87 84 72 50",
    1: "60 49",
    2: "13 21 50 71 73 55 19 89",
    3: "11 40 71 73 44 75 77 59 28",
    4: "30 15 85,72 69",
    5: "70 30 24 54 76 77 49 18",
    6: "70 42 26 38 59 78 66 45 27",
    7: "10 80 49",
    8: "54 32 31 50 71 73 36 28 59 78 76 54",
    9: "73 44 23 21 40 61 73 59",
}


# The extension ----------------------------------------------------------------


def parse(script):
    """Return what a script with the network defines."""
    return json.loads(re.search(r"^const NETWORK = (.*);$", script, re.M)[1])


def state_dict(network):
    """Return its parameters as PyTorch takes them."""
    return {
        name: torch.from_numpy(
            np.frombuffer(base64.b64decode(part["values"]), "<f4").copy()
        ).reshape(part["shape"])
        for name, part in network["weights"].items()
    }


def normalized(pixels):
    return (pixels - data.MNIST_MEAN) / data.MNIST_STD


@pytest.fixture(scope="module")
def network():
    return parse(booksite_draw.network_script())


def test_script_holds_the_trained_network(network):
    model, _ = trained_model("dropout")
    written = state_dict(network)
    assert list(written) == list(model.state_dict())
    for name, values in model.state_dict().items():
        assert torch.equal(written[name], values), name


def test_samples_are_test_digits(network):
    test = data.mnist("test")
    model, _ = trained_model("dropout")
    samples = network["samples"]
    assert [sample["label"] for sample in samples[:10]] == list(range(10))
    assert len(samples) == 10 + booksite_draw.NUM_MISREAD
    for place, sample in enumerate(samples):
        pixels = base64.b64decode(sample["pixels"])
        image = test.data[sample["index"]]
        assert pixels == image.numpy().tobytes()
        assert sample["label"] == test.targets[sample["index"]]
        scores = model(normalized(image[None, None].float() / 255))
        assert (scores.argmax() == sample["label"]) == (place < 10)
    assert 100 < network["num_misread"] < 400


def test_earlier_states_are_on_the_way_of_the_trained_network(monkeypatch):
    """The first steps' losses are those of its training: the same digits, in order."""
    losses = []

    def fit_some(*arguments):
        """Fit as it is, but leave after the 30th step."""
        after_step = arguments[-1]

        def keep(loss, *counts):
            losses.append(loss)
            after_step(loss, *counts)
            if len(losses) == 30:
                raise StopIteration

        with contextlib.suppress(StopIteration):
            fit(*arguments[:-1], keep)

    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "fit", fit_some)
        states = booksite_draw.earlier_states("dropout")
    assert list(states) == ["0", "30"]
    _, history = trained_model("dropout")
    expected = [row["loss"] for row in history["steps"][:30]]
    assert losses == pytest.approx(expected, rel=1e-4)
    model = DropoutNet()
    model.load_state_dict(state_dict({"weights": states["30"]}))


def test_networks_are_written_once_and_where_a_page_draws(tmp_path, monkeypatch):
    def write(number, error=None):
        for name in ("network_script", "more_script"):
            text = f"const {name} = {number};\n"
            monkeypatch.setattr(booksite_draw, name, lambda text=text: text)
        booksite_draw.write_network(app, error)

    path = tmp_path / booksite_draw.SCRIPT
    app = SimpleNamespace(
        builder=SimpleNamespace(name="singlehtml"),
        config=SimpleNamespace(book_english={}, nb_execution_cache_path="cache/a1b2"),
        env=SimpleNamespace(metadata={"book/draw": {"draws": True}, "book/a": {}}),
        outdir=tmp_path,
    )
    write(1)
    app.builder.name = "html"
    write(1, ValueError("the build has failed"))
    assert not path.exists()
    write(1)
    first = path.read_text("utf-8")
    assert first.endswith("\nconst network_script = 1;\n")
    write(2)
    assert path.read_text("utf-8") == first, "nothing has changed"
    app.config.nb_execution_cache_path = "cache/c3d4"
    write(2)
    assert path.read_text("utf-8").endswith("\nconst network_script = 2;\n")
    path.unlink()
    del app.env.metadata["book/draw"]
    write(2)
    assert not path.exists()


# In a browser -----------------------------------------------------------------


def opened(seen, url):
    """Open the page and return it."""
    seen.page.goto(url)
    says(seen.page, "The network says")
    return seen.page


@pytest.fixture
def page(visit, address):
    return opened(visit(), address + "book/draw.html")


@pytest.fixture(scope="module")
def used(browser, address):
    """The page as an earlier test left it; it has the first network."""
    with visits(browser) as visit:
        yield opened(visit(), address + "book/draw.html")


def empty(page):
    page.click("#clear")
    says(page, "The field is empty")


def draw(page, code, left=0.25, top=0.15, size=0.7, slant=0.0):
    """Draw with the mouse; places and sizes are shares of the field's side."""
    field = page.locator("#drawing")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    for stroke in code.split(","):
        for i, (x, y) in enumerate(map(list, stroke.split())):
            down, right = int(y) / 9, int(x) / 9
            x = box["x"] + box["width"] * (left + size * (right - slant * (down - 1)))
            y = box["y"] + box["height"] * (top + size * down)
            page.mouse.move(x, y, steps=2 if i else 1)
            if i == 0:
                page.mouse.down()
        page.mouse.up()


def shown(page):
    """Return the 28x28 pixels that the page shows as what the network sees."""
    levels = page.evaluate(
        """() => [...document.getElementById("seen").getContext("2d")
            .getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"""
    )
    return torch.tensor(levels).reshape(1, 28, 28) / 255


def said(page):
    """Return the digit that has the longest bar."""
    return page.locator("#probabilities .best th").inner_text()


def test_logits_equal_those_of_pytorch(used):
    model = DropoutNet().eval()
    model.load_state_dict(state_dict(parse(SCRIPT.read_text("utf-8"))))
    digits = data.mnist("test").data[:120]
    with torch.no_grad():
        expected = model(normalized(digits[:, None].float() / 255))
    logits = used.evaluate(
        """digits => {
            const state = load_state_dict(NETWORK.weights);
            return digits.map((levels) => {
                const pixels = Float32Array.from(levels, (level) => level / 255);
                const image = tensor([1, 1, 28, 28], pixels);
                const { mean, std } = NETWORK;
                return [...forward(state, normalize(image, mean, std)).logits.values];
            });
        }""",
        digits.flatten(start_dim=1).tolist(),
    )
    assert (torch.tensor(logits) - expected).abs().max() < 1e-4


def test_layers_show_what_pytorch_computes(used):
    """The range of each layer's numbers, and the probabilities, of a test digit."""
    network = parse(SCRIPT.read_text("utf-8"))
    model = DropoutNet().eval()
    model.load_state_dict(state_dict(network))
    index = next(s["index"] for s in network["samples"] if s["label"] == 4)
    used.check("input[name=sample] >> nth=4")
    says(used, f"Test digit {index}, a 4.")
    seen = {}
    for name in ("conv1", "conv2", "fc1"):
        layer = getattr(model, name)
        layer.register_forward_hook(
            lambda _, x, out, name=name: seen.update({name: out})
        )
    image = data.mnist("test").data[index][None, None].float() / 255
    assert torch.equal((shown(used) * 255).round(), image[0] * 255)
    with torch.no_grad():
        logits = model(normalized(image))[0]
    seen["fc1"] = seen["fc1"].relu()
    for name, values in seen.items():
        text = used.locator(f"#{name} .range").inner_text().replace("\u2212", "-")
        low, high = map(float, re.findall(r"-?\d+\.\d", text))
        assert low == pytest.approx(values.min().item(), abs=0.051), name
        assert high == pytest.approx(values.max().item(), abs=0.051), name
    texts = used.locator("#logits td:last-child").all_inner_texts()
    written = torch.tensor([float(text.replace("\u2212", "-")) for text in texts])
    assert (written - logits).abs().max() < 0.051
    for share, text in zip(
        logits.softmax(dim=0).tolist(),
        used.locator("#probabilities td:last-child").all_inner_texts(),
        strict=True,
    ):
        limit = re.search(r"\d+", text)[0]
        assert abs(100 * share - int(limit)) <= (1 if text[0] in "<>" else 0.51)


@pytest.mark.parametrize(
    ("digit", "place"),
    [
        (5, {}),
        (2, {"size": 0.2, "left": 0.05, "top": 0.7}),  # small, in a corner
        (8, {"size": 0.9, "left": 0.08, "top": 0.05}),
        (7, {"size": 0.4, "slant": 0.3}),
        (4, {"size": 1.3, "left": -0.05, "top": 0.02}),  # beyond the field's edge
    ],
)
def test_prepared_like_digit_from_file(used, tmp_path, digit, place):
    """The PNG that the page saves, read in Python, gives the pixels it shows."""
    empty(used)
    draw(used, DIGITS[digit], **place)
    says(used, "The network says")
    with used.expect_download() as download:
        used.click("#save")
    assert download.value.suggested_filename == "my-digit.png"
    path = tmp_path / "my-digit.png"
    download.value.save_as(path)
    difference = (shown(used) - data.digit_from_file(path)).abs().max()
    assert difference < 0.51 / 255, "more than the rounding to 256 levels"


def test_drawn_digits_are_read(used):
    """All that are drawn plainly, most of the small, the large and the slanted."""
    places = [
        {"size": 0.15, "left": 0.8, "top": 0.8},
        {"size": 0.95, "left": 0.1, "top": 0.02},
        {"size": 0.5, "slant": 0.25},
    ]
    right = 0
    for digit in (0, 1, 7):
        empty(used)
        draw(used, DIGITS[digit])
        says(used, f"The network says {digit}, ")
        assert said(used) == str(digit)
    for digit in range(2, 8):
        empty(used)
        draw(used, DIGITS[digit], **places[digit % 3])
        says(used, "The network says")
        right += said(used) == str(digit)
    assert right >= 4  # of 6


def test_finger(visit, address):
    """On a phone a finger draws, and does not scroll the page."""
    seen = visit(viewport=PHONE, has_touch=True)
    page = opened(seen, address + "book/draw.html")
    assert fits_a_phone(page)
    field = page.locator("#drawing")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    assert box["x"] >= 0
    assert 280 <= box["width"] <= PHONE["width"]
    assert box["width"] == pytest.approx(box["height"], abs=1)
    session = page.context.new_cdp_session(page)
    before = page.evaluate("scrollY")
    for i in range(20):
        point = {
            "x": box["x"] + box["width"] * (0.5 - 0.005 * i),
            "y": box["y"] + box["height"] * (0.15 + 0.035 * i),
        }
        kind = "touchMove" if i else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    says(page, "The network says 1, ")
    assert page.evaluate("scrollY") == before


def test_keyboard_alone(page):
    """Tab over network and slider to the digits, choose with arrow keys, then clear."""
    page.focus("#save")
    for name in ("network", "stop"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "sample"
    samples = parse(SCRIPT.read_text("utf-8"))["samples"]
    for sample in (samples[3], samples[4]):
        page.keyboard.press("ArrowRight")
        says(page, f"The network says {sample['label']}, ")
        says(page, f"Test digit {sample['index']}, a {sample['label']}.")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")  # around to the last, a misread one
    last = samples[-1]
    says(page, f"Test digit {last['index']}, a {last['label']}.")
    assert said(page) != str(last["label"])
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "clear"
    page.keyboard.press("Enter")
    says(page, "The field is empty")


def comes_to_show(page, picture, same=True):
    """Wait until the next frames are drawn; the page draws when it has time."""
    for _ in range(100):
        if torch.equal(shown(page), picture) is same:
            return True
        page.wait_for_timeout(50)
    return False


def test_clear_and_undo(page):
    assert page.locator("input[name=sample]:checked").count() == 1
    draw(page, DIGITS[1])
    says(page, "The network says 1, ")
    assert "Test digit" not in page.locator("#verdict").inner_text()
    assert page.locator("input[name=sample]:checked").count() == 0
    empty(page)
    assert shown(page).sum() == 0
    assert page.locator("#probabilities .best").count() == 0
    draw(page, DIGITS[1])
    says(page, "The network says 1, ")
    one = shown(page)
    draw(page, "00 99")
    assert comes_to_show(page, one, same=False)
    page.click("#undo")
    assert comes_to_show(page, one)
    says(page, "The network says 1, ")
    page.click("#undo")
    says(page, "The field is empty")
    page.click("#undo")
    page.click("#save")
    says(page, "no drawing to save")


def test_back_to_the_beginning_of_training(used):
    used.check("input[name=sample] >> nth=0")
    says(used, "The network says 0, over 99")
    slide(used, "stop", 0)
    says(used, "After 0 steps of training.")
    shares = used.locator("#probabilities td:last-child").all_inner_texts()
    assert all(4 <= int(re.search(r"\d+", text)[0]) <= 20 for text in shares)
    slide(used, "stop", len(booksite_draw.STOPS) - 1)
    says(used, "After 860 steps of training.")
    assert said(used) == "0"
    slide(used, "stop", len(booksite_draw.STOPS))
    used.wait_for_function(
        "!document.getElementById('verdict').textContent.includes('steps')"
    )
    says(used, "The network says 0, over 99")


def test_the_second_network_reads_some_that_the_first_misreads(page):
    """Its weights are those that PyTorch has, and the slider is the first one's."""
    cases = page.locator(".wrong li").all()
    assert len(cases) >= 3
    for case in cases:
        meant, read = re.findall(r"\d", case.inner_text())
        case.locator("button").click()
        says(page, f"The network says {read}, ")
        assert meant != read
    page.select_option("#network", "varied")
    kernels = trained_model("varied")[0].conv1.weight
    low, high = (f"{value:.1f}" for value in (kernels.min(), kernels.max()))
    page.wait_for_function(
        "text => document.querySelector('#kernels .range').textContent === text",
        arg=f"Here from {low} to {high}.".replace("-", "\u2212"),
    )
    assert page.locator("#stop").is_disabled()
    for case, digit in zip(cases, (7, 1, 4), strict=True):
        case.locator("button").click()
        says(page, f"The network says {digit}, ")
    page.select_option("#network", "dropout")
    page.wait_for_function("!document.getElementById('stop').disabled")


def test_accessible_and_quiet_in_both_themes(visit, address):
    """After drawing, too: axe finds nothing, no request and no complaint."""
    seen = visit(color_scheme="light")
    page = opened(seen, address + "book/draw.html")
    draw(page, DIGITS[7])
    says(page, "The network says 7, ")
    page.evaluate(UNFOLD)
    assert axe_violations(page) == []
    corner = """() => [...document.querySelector("#conv2 canvas").getContext("2d")
        .getImageData(0, 0, 8, 8).data]"""
    before = page.evaluate(corner)
    page.click("button.theme")
    page.wait_for_function(
        f"before => String(({corner})()) !== String(before)", arg=before
    )
    assert axe_violations(page, structure=False) == []
    assert seen.faults(address) == []


def test_without_javascript(visit, address):
    page = visit(java_script_enabled=False).page
    page.goto(address + "book/draw.html")
    assert not page.locator("#pad").is_visible()
    assert "needs JavaScript" in page.locator("main").inner_text()


@pytest.mark.usefixtures("address")  # there is a built site
def test_in_chinese_and_from_a_folder(visit):
    seen = visit()
    page = seen.page
    page.goto(SITE.joinpath("zh", "book", "draw.html").as_uri())
    says(page, "测试数字")
    slide(page, "stop", 1)
    says(page, "训练 30 步之后。")
    page.click("#clear")
    says(page, "画图区是空的")
    draw(page, DIGITS[7])
    says(page, "网络说是 ")
    names = {"JavaScript", "MNIST", "PNG", "logit", "softmax"}
    assert latin_words(page, "#pad, #layers, .wrong") <= names
    assert seen.faults("file://") == []
