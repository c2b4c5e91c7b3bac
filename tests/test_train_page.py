"""The page "Train a network": its digits, its arithmetic, and how it is used.

It is tested in the built site, as in test_site.py, in a real browser.
"""

import base64
import json
import re
import zlib

import booksite_train
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from browser import (
    SITE,
    UNFOLD,
    axe_violations_in_both_themes,
    fits_a_phone,
    latin_words,
    says,
    slide,
    visits,
)
from torch import nn

from helpers import data


@pytest.fixture(scope="module")
def digits():
    """The page's digits in Python: levels, labels, and how many are for training."""
    images, labels = booksite_train.digits()
    return images, labels, 60_000 // booksite_train.STEPS["train"]


# The extension ----------------------------------------------------------------


def test_script_holds_digits_of_both_halves(digits):
    images, labels, num_train = digits
    script = booksite_train.digits_script()
    assert len(script) <= 600_000
    content = json.loads(re.search(r"^const DIGITS = (.*);$", script, re.M)[1])
    assert content["train"] == num_train >= 3_000
    assert len(content["labels"]) - num_train >= 1_000
    packed = zlib.decompress(base64.b64decode(content["pixels"]))
    pairs = np.frombuffer(packed, np.uint8)
    levels = np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1, 28, 28)
    train, test = data.mnist("train"), data.mnist("test")
    for index, dataset, at in [(0, train, 0), (7, train, 140), (3_005, test, 50)]:
        assert content["labels"][index] == str(dataset.targets[at].item())
        difference = 17.0 * levels[index] - dataset.data[at].numpy()
        assert np.abs(difference).max() <= 8.5, "more than rounding to 16 levels"


# In a browser -----------------------------------------------------------------


@pytest.fixture
def page(visit, address):
    return opened(visit(), address + "book/train.html")


@pytest.fixture(scope="module")
def lab(browser, address):
    """The page with its digits, for what it computes: no control of it is moved."""
    with visits(browser) as visit:
        page = opened(visit(), address + "book/train.html")
        page.evaluate("async () => { await load(lab.dataset.digits); }")
        yield page


def opened(seen, url):
    """Open the page and return it."""
    seen.page.goto(url)
    seen.page.locator("#lab").wait_for()
    return seen.page


def shown(page, key, kind="test"):
    """Return a number of the curves' captions: loss, or accuracy in percent."""
    text = page.locator(f"#{key}-says .key-{kind} b").inner_text()
    return float(text.replace("\u00a0%", "").replace(",", ""))


# It is PyTorch

NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
    "hidden": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), nn.Linear(24, 10)
    ),
    "convolution": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(1_152, 10)
    ),
}
LEARN = """async ({ settings, start, batches }) => {
    const digits = await unpack(DIGITS);
    const model = new Network(settings, Math.random);
    Object.values(model.state).forEach(({ values }, i) => values.set(start[i]));
    const optimizer = new SGD(model.parameters());
    const losses = batches.map((indices, i) => {
        const { images, labels } = collate(digits, indices, settings);
        const now = i < 20 ? { ...settings, momentum: 0 } : settings;
        return train_step(model, images, labels, cross_entropy, optimizer, now);
    });
    const state = Object.values(model.state).map(({ values }) => [...values]);
    return { losses, state };
}"""


@pytest.mark.parametrize(
    ("net", "momentum", "decay"),
    [("linear", 0.9, 0.001), ("hidden", 0.0, 0.0), ("convolution", 0.9, 0.001)],
)
def test_it_learns_as_pytorch_does(lab, digits, net, momentum, decay):
    """Loss and weights of 100 steps, from the same start on the same batches.

    Momentum begins after 20 steps, as when a reader moves its slider.

    Where ReLU turns a number off that lies within rounding of zero, PyTorch itself
    gives other weights in float64 than in float32. Here both agree to 1e-5.
    """
    images, labels, num_train = digits
    torch.manual_seed(0)
    model = NETWORKS[net]()
    start = [p.detach().flatten().tolist() for p in model.parameters()]
    batches = [torch.randperm(num_train)[:32] for _ in range(100)]
    settings = {"net": net, "hidden": 24, "lr": 0.05, "momentum": momentum}
    settings |= {"decay": decay, "wrong": 0, "pixels": "normalized"}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=decay)
    losses = []
    for number, batch in enumerate(batches):
        if number == 20:
            optimizer.param_groups[0]["momentum"] = momentum
        pixels = (images[batch, None].float() / 15 - data.MNIST_MEAN) / data.MNIST_STD
        loss = F.cross_entropy(model(pixels), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    batches = [batch.tolist() for batch in batches]
    content = {"settings": settings, "start": start, "batches": batches}
    result = lab.evaluate(LEARN, content)
    assert losses[-1] < losses[0] / 2
    assert result["losses"] == pytest.approx(losses, abs=1e-4 * max(losses))
    for values, expected in zip(result["state"], model.parameters(), strict=True):
        difference = torch.tensor(values) - expected.detach().flatten()
        assert difference.abs().max() <= 1e-4 * expected.detach().abs().max()


# The experiments

RUN = """async ({ anchor, plan, state }) => {
    const button = document.querySelector(`#${anchor} [data-state]`);
    const settings = settingsFrom(button?.dataset.state ?? state);
    const training = new Training(await unpack(DIGITS), settings);
    return plan.map(([examples, change]) => {
        Object.assign(settings, change);
        while (training.examples < examples) training.step();
        for (const _ of training.measure());
        const { training: learned, test } = training.history.at(-1);
        const silent = training.awake?.filter((one) => !one).length;
        return [learned.loss, learned.accuracy, test.loss, test.accuracy, silent];
    });
}"""


def run(page, anchor, *plan, settings=""):
    """Run an experiment of the page; return what is measured at each stop.

    A stop is a number of digits, and settings that change before them. Returned are
    loss and accuracy of the training digits, those of the test digits, and how many
    hidden units are silent. Without an experiment of that name, `settings` are used.
    """
    plan = [stop if isinstance(stop, tuple) else (stop, {}) for stop in plan]
    return page.evaluate(RUN, {"anchor": anchor, "plan": plan, "state": settings})


@pytest.fixture(scope="module")
def usual(lab):
    """What is measured with the usual settings at the begin, and after digits."""
    stops = (0, 1_600, 3_200, 60_000)
    return dict(zip(stops, run(lab, "none", *stops), strict=True))


def test_usual_settings(usual):
    begin, some, end = usual[0], usual[1_600], usual[60_000]
    assert begin[2] == pytest.approx(np.log(10), abs=0.1)
    assert 0.6 < some[3] < 0.8
    assert end[1] > 0.998
    assert 0.89 < end[3] < 0.92
    assert end[4] == 0


def test_rate_too_high(lab):
    late, lowered = run(lab, "rate-too-high", 15_000, (24_000, {"lr": 0.1}))
    for loss, accuracy, silent in [late[2:], lowered[2:]]:
        assert 2.2 < loss < 2.5
        assert accuracy < 0.2
        assert silent > 24  # of 32


def test_rate_too_low(lab):
    (end,) = run(lab, "rate-too-low", 60_000)
    assert 0.25 < end[3] < 0.42


def test_no_normalization(lab):
    tenth, late = run(lab, "no-normalization", 320, 6_000)
    assert tenth[4] >= 30
    assert late[3] < 0.2
    (scaled,) = run(lab, "no-normalization", (3_000, {"pixels": "unit"}))
    assert scaled[3] > 0.75
    (slow,) = run(lab, "no-normalization", (15_000, {"lr": 0.001}))
    assert 0.4 < slow[3] < 0.75


def test_batch_of_one(lab, usual):
    (high,) = run(lab, "batch-of-one", 1_600)
    assert high[3] < 0.3
    assert high[4] > 10
    (low,) = run(lab, "batch-of-one", (1_600, {"lr": 0.01}))
    assert low[3] > usual[1_600][3] + 0.05


def test_wrong_labels(lab):
    early, late = run(lab, "wrong-labels", 6_000, 60_000)
    assert early[3] > 0.8
    assert late[1] > early[1] + 0.15
    assert late[2] > early[2] + 0.1
    assert late[3] < early[3] - 0.08
    plan = (6_000, {"decay": 0.03}), 60_000
    _, late_decay = run(lab, "wrong-labels", *plan)
    assert late_decay[1] < late[1] - 0.1
    assert late_decay[3] > late[3] + 0.05


def test_dead_units(lab):
    early, changed, late = run(lab, "dead-units", 320, 6_000, (24_000, {"lr": 0.05}))
    assert 8 <= early[4] <= changed[4] <= 13
    assert late[4] == changed[4]
    assert late[3] > 0.84


def test_momentum(lab, usual):
    start, plain = run(lab, "adding-momentum", 1_600, 3_200)
    start, bent = run(lab, "adding-momentum", 1_600, (3_200, {"momentum": 0.9}))
    assert bent[2] < 0.6 * plain[2]
    assert bent[2] == pytest.approx(usual[3_200][2], rel=0.35)
    stops = [(n, {"momentum": 0.99}) for n in range(2_080, 6_000, 480)]
    losses = [row[2] for row in run(lab, "adding-momentum", 1_600, *stops)]
    assert max(losses[3:]) > 1.5 * min(losses[:3]), "it swings back up"


def test_too_few_units(lab):
    (few,) = run(lab, "too-few-units", 60_000)
    assert 0.82 < few[3] < 0.88
    assert few[1] < 0.99
    early, many = run(lab, "none", 9_000, 24_000, settings="hidden=128")
    assert 0.89 < many[3] < 0.93
    (kernels,) = run(lab, "none", 9_000, settings="net=convolution")
    assert kernels[3] > early[3] + 0.01


# How it is used


def learn(page, steps=40):
    """Press Start, let it learn, and press Pause."""
    page.click("#start")
    page.wait_for_function(
        "steps => parseFloat(document.getElementById('steps').textContent) >= steps",
        arg=steps,
        timeout=120_000,
    )
    page.click("#start")
    says(page, "test accuracy")


def test_it_learns_when_started(visit, address):
    """And is accessible then, quiet, and fits a phone."""
    seen = visit(color_scheme="light")
    page = opened(seen, address + "book/train.html")
    page.evaluate(
        """() => {
            window.said = [];
            new MutationObserver(() => said.push(says.textContent))
                .observe(says, { childList: true });
        }"""
    )
    learn(page)
    assert len(page.evaluate("said")) == 3, "loading, learning, and where it rests"
    assert 0 < shown(page, "loss") < 2.2
    assert shown(page, "accuracy") > 15
    assert page.locator("#ten li span >> nth=0").inner_text().endswith("%")
    cells = page.locator("#matrix td").all_inner_texts()
    assert sum(int(text or 0) for text in cells) == 1_000
    assert page.locator("#start").inner_text() == "Start"
    before = page.locator("#steps").inner_text()
    page.evaluate(UNFOLD)
    assert axe_violations_in_both_themes(page) == []
    assert fits_a_phone(page)
    assert page.locator("#loss").bounding_box()["width"] > 300
    assert page.locator("#steps").inner_text() == before, "it rests"
    assert seen.faults(address) == []


def test_the_same_seed_gives_the_same_steps(page):
    def three_steps():
        for _ in range(3):
            page.click("#step")
        page.wait_for_function(
            "document.getElementById('steps').textContent[0] === '3'"
        )
        says(page, "After 96 digits")
        return page.locator("#last").inner_text(), shown(page, "loss")

    first = three_steps()
    page.click("#reset")
    assert three_steps() == first
    page.click("#other")
    assert page.url.endswith("#seed=2")
    assert three_steps() != first


def test_changes_are_marked_and_in_the_address(page):
    page.click("#step")
    says(page, "After 32 digits")
    slide(page, "lr", 22)
    page.select_option("#pixels", "unit")
    marks = page.locator("#changes li")
    assert marks.count() == 2
    assert marks.first.inner_text() == "After 32 digits: Learning rate: 0.1 \u2192 0.5"
    assert page.url.endswith("#lr=0.5&pixels=unit")
    assert page.locator("#steps").inner_text().startswith("1 step,")
    page.select_option("#net", "convolution")
    assert marks.count() == 0, "a new network"
    assert page.locator("#hidden").is_disabled()


def test_a_link_sets_it_up(visit, address):
    address += "book/train.html"
    page = opened(visit(), address + "#lr=0.25&hidden=20&seed=3&wrong=x&batch=0.5")
    for key, value in {"lr": "0.25", "hidden": "20", "batch": "32"}.items():
        assert page.locator(f"#{key} + output").inner_text() == value
    assert page.locator("#seed").input_value() == "3"


@pytest.mark.parametrize("link", ["#wrong=30%", "#constructor=1&lr=0.5"])
def test_a_link_that_means_nothing_stops_nothing(visit, address, link):
    page = opened(visit(), address + "book/train.html" + link)
    page.click("#step")
    says(page, "After 32 digits")


def test_a_link_to_a_section_of_experiments_leaves_the_run_alone(visit, address):
    page = opened(visit(), address + "book/train.html#lr=0.5")
    page.click("#step")
    says(page, "After 32 digits")
    page.evaluate("location.hash = '#things-to-try'")
    page.wait_for_function("scrollY > 0")
    assert page.locator("#lr + output").inner_text() == "0.5"
    says(page, "After 32 digits")


def test_an_experiment_is_set_up_by_its_link_and_its_button(visit, address):
    page = opened(visit(), address + "book/train.html#dead-units")
    says(page, "Dead units")
    assert page.locator("#lr + output").inner_text() == "0.5"
    page.click("#adding-momentum [data-state]")
    says(page, "Adding momentum")
    assert page.locator("#lr + output").inner_text() == "0.01"
    assert page.evaluate("document.activeElement.id") == "start"
    assert page.url.endswith("#adding-momentum")


def test_every_experiment_differs_from_the_usual_settings(lab):
    states = lab.locator("[data-state]").evaluate_all(
        "all => all.map((one) => [one.dataset.title, settingsFrom(one.dataset.state)])"
    )
    assert len(states) == 8
    ids = lab.locator("[id]").evaluate_all("all => all.map(({ id }) => id)")
    assert len(set(ids)) == len(ids), "a link to an experiment leads elsewhere"
    usual = lab.evaluate("START")
    for title, settings in states:
        assert settings != usual, title


def test_keyboard_alone(page):
    page.focus("#start")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    says(page, "After 32 digits")
    page.focus("#lr")
    page.keyboard.press("ArrowRight")
    assert page.locator("#lr").get_attribute("aria-valuetext") == "0.15"
    assert "0.15" in page.locator("#changes").inner_text()


def test_without_javascript_and_on_paper(visit, address):
    page = visit(java_script_enabled=False).page
    page.goto(address + "book/train.html")
    assert not page.locator("#lab").is_visible()
    assert page.locator(".still img").is_visible()
    assert "needs JavaScript" in page.locator("main").inner_text()
    page = opened(visit(), address + "book/train.html")
    assert not page.locator(".still img").is_visible()
    page.emulate_media(media="print")
    assert not page.locator("#lab").is_visible()
    assert page.locator(".still img").is_visible()


@pytest.mark.usefixtures("address")  # there is a built site
def test_in_chinese_and_from_a_folder(visit):
    seen = visit()
    chinese = SITE / "zh" / "book" / "train.html"
    page = opened(seen, chinese.as_uri() + "#dead-units")
    says(page, "“死掉的单元”已经设好")
    page.click("#step")
    says(page, "看过 32 个数字：测试损失")
    slide(page, "lr", 24)
    change = page.locator("#changes").inner_text()
    assert change == "看过 32 个数字：学习率：0.5 \u2192 1"
    assert page.url.endswith("#lr=1")
    assert "走了 1 步，" in page.locator("#steps").inner_text()
    assert latin_words(page, "#lab, .try, details.fold > summary") == set()
    assert seen.faults("file://") == []
