"""Explorers: as objects, as HTML, as widgets, and in a reader's browser."""

import bs4
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from book_files import ROOT
from browser import axe_violations_in_both_themes, fits_a_phone
from jupyter_client.manager import start_new_kernel

from helpers import interactive

drawn = []


def draw(power, sign="plus"):
    drawn.append((power, sign))
    fig, ax = plt.subplots(figsize=(5, 2))
    factor = {"plus": 1, "minus": -1}[sign]
    ax.plot([factor * x**power for x in range(4)])
    ax.set_title(f"{sign} {power}")
    return fig


def describe(power, sign="plus"):
    return f"A curve: {sign} x to the power {power}."


def explore(**changes):
    arguments = {
        "draw": draw,
        "describe": describe,
        "caption": "Powers.",
        "sign": ["plus", "minus"],
        "power": [1, 2, 3],
    }
    return interactive.explore(**(arguments | changes))


def only_power(**changes):
    arguments = {"draw": draw, "describe": describe, "caption": "Powers."}
    return interactive.explore(**(arguments | {"power": [1, 2, 3]} | changes))


def multiply(a, b, c):
    return f"{a} · {b} · {c}\n= {a * b * c} < 99"


def text_of_three(**changes):
    arguments = {"caption": "Products.", "a": [1, 2], "b": [3, 4], "c": [5, 7]}
    return interactive.explore(multiply, **(arguments | changes))


@pytest.fixture(autouse=True)
def as_in_a_running_notebook(monkeypatch):
    monkeypatch.delenv("BOOK_BUILD", raising=False)
    mpl.use("svg")
    drawn.clear()
    with plt.style.context("helpers.book"):
        yield
    assert plt.get_fignums() == [], "a figure left open is shown a second time"


def parse(html):
    return bs4.BeautifulSoup(html, "html.parser")


# The object -------------------------------------------------------------------


def test_frame_has_a_picture_a_text_and_a_size():
    frame = explore().frame(power=2, sign="minus")
    assert frame.svg.startswith("<svg")
    assert frame.text == "A curve: minus x to the power 2."
    assert frame.size == (480, 192), "5 by 2 inches, 96 pixels an inch"
    axes_will_do = only_power(draw=lambda power: draw(power).axes[0])
    assert "<svg" in axes_will_do.frame(power=1).svg
    assert explore().html() == explore().html(), "the same each time"


def test_default_and_names():
    explorer = explore(default={"power": 3})
    assert explorer.start == ("plus", 3), "a control without a default starts first"
    assert "sign='plus', power=3" in repr(explorer)
    assert "power 3." in repr(explorer)
    control = interactive.Control("learning_rate", (0.0001, 1.0, 1000.0, 3))
    assert control.title == "learning rate"
    assert control.labels == ["0.0001", "1", "1000", "3"]
    assert control.is_slider
    assert not interactive.Control("on", (True, False)).is_slider
    counted = interactive.Control("count", tuple(np.arange(1, 4)))
    assert counted.is_slider
    assert counted.labels == ["1", "2", "3"]


def gives(value):
    return lambda power, sign: value


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"power": [1]}, ValueError, "power needs at least two values"),
        ({"power": "abc"}, ValueError, "power needs a list of values"),
        ({"power": 3}, ValueError, "power needs a list of values"),
        ({"power": [1, 2, 1]}, ValueError, "power has the value 1 more than once"),
        ({"power": range(31)}, ValueError, "62 frames are more than .* fewer values"),
        ({"c": [1, 2], "d": [1, 2]}, ValueError, "one to three controls, not 4"),
        ({"default": {"power": 7}}, ValueError, r"power to 7, .*: \(1, 2, 3\)"),
        ({"default": {"pwer": 1}}, ValueError, "pwer to 1, .*'sign': .*'power'"),
        ({"describe": "text"}, TypeError, "'str' object is not callable"),
        ({"draw": lambda x: None}, TypeError, "unexpected keyword argument 'sign'"),
        ({"describe": lambda: ""}, TypeError, "unexpected keyword argument 'sign'"),
        ({"draw": gives(None)}, TypeError, "figure or a text, not NoneType: .*return"),
        ({"describe": gives(None)}, TypeError, "what there is to see .*, not None"),
        (
            {"describe": gives(" ")},
            TypeError,
            "what there is to see as a text, not ' '",
        ),
        ({"describe": gives("A.")}, ValueError, "'power': 1.*: 2.*name what differs"),
        ({"draw": gives("A text.")}, ValueError, "'power': 1.*: 2.*name what differs"),
    ],
)
def test_mistakes_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        explore(**changes).html()


def test_no_control_and_no_text_alternative():
    with pytest.raises(ValueError, match=r"not 0; .* stride=\[1, 2, 3\]"):
        interactive.explore(draw, describe=describe, caption="Nothing moves.")
    with pytest.raises(TypeError, match="describe must return .* not None"):
        interactive.explore(draw, caption="Powers.", power=[1, 2])


# As HTML ----------------------------------------------------------------------


def test_every_frame_has_its_own_text():
    page = parse(explore(default={"sign": "minus"}).html())
    alts = [image["alt"] for image in page.select(".frame img")]
    # The last control moves first, as book.js counts.
    assert alts == [
        describe(power, sign) for sign in ("plus", "minus") for power in (1, 2, 3)
    ]
    assert page.select_one("[aria-live]").get_text() == describe(1, "minus")
    assert page.figcaption.get_text() == "Powers."
    assert page.select_one(".controls").has_attr("hidden"), "they need a script"


def test_frames_may_be_text():
    page = parse(text_of_three(default={"b": 4}).html())
    assert len(page.select(".frame pre")) == 8
    assert not page.select("img, .says")
    shown = page.select_one("[aria-live=polite] .frame:not([hidden])")
    assert shown.get_text() == multiply(1, 4, 5), "a text is read out"


def test_text_is_escaped():
    html = only_power(describe=lambda power: f'"a" < b & {power}').html()
    assert parse(html).img["alt"] == '"a" < b & 1'
    assert "< b" not in html


def test_two_explorers_do_not_share_names():
    one, other = parse(explore().html()), parse(explore(caption="Others.").html())
    assert one.form["id"] != other.form["id"]
    names = [page.select_one("[type=radio]")["name"] for page in (one, other)]
    assert names[0] != names[1]


# What a front end is offered ----------------------------------------------------


def test_running_notebook_gets_a_widget_and_one_frame():
    stored, live = explore().outputs()
    assert "application/vnd.jupyter.widget-view+json" in live
    assert "text/html" not in live, "the picture would be shown twice"
    page = parse(stored["text/html"])
    assert len(page.find_all("img")) == 1
    assert not page.select("input")
    assert "run this cell" in page.figcaption.get_text()
    assert drawn == [(1, "plus")], "nothing is drawn that nobody asked for"


@pytest.mark.parametrize(("building", "frames"), [(True, 6), (False, 1)])
def test_site_gets_all_frames_and_where_no_widget_is_there_is_html(
    monkeypatch, building, frames
):
    if building:
        monkeypatch.setenv("BOOK_BUILD", "1")
    else:  # ipywidgets are not installed
        monkeypatch.setattr(interactive.importlib.util, "find_spec", lambda name: None)
    (stored,) = explore().outputs()
    assert set(stored) == {"text/plain", "text/html"}
    assert len(parse(stored["text/html"]).find_all("img")) == frames


def fails_at_three(power):
    figure = draw(power)
    if power == 3:
        raise RuntimeError("no curve <here>")
    return figure


def test_mistakes_fail_the_cell_and_the_build(monkeypatch):
    with pytest.raises(RuntimeError, match="no curve"):
        only_power(draw=fails_at_three, power=[3, 1])
    only_power(draw=fails_at_three)
    monkeypatch.setenv("BOOK_BUILD", "1")
    with pytest.raises(RuntimeError, match="no curve"):
        only_power(draw=fails_at_three)


def test_moving_the_widget_draws_again():
    sign, power, picture, says, caption, _ = explore().widget().children
    before = picture.value
    power.value = 3
    assert drawn[-1] == (3, "plus")
    assert describe(3) in parse(says.value).find(role="alert").get_text()
    assert f'alt="{describe(3)}"' in picture.value
    assert picture.value != before
    sign.value = "minus"
    assert drawn[-1] == (3, "minus")
    assert "Powers." in caption.value

    a, b, c, picture, says, *_ = text_of_three().widget().children
    c.value = 7
    b.value = 4
    assert parse(picture.value).pre.get_text() == multiply(1, 4, 7)
    assert parse(says.value).get_text() == "", "nothing is said twice"


def test_mistake_while_moving_is_shown():
    power, _, says, *_ = only_power(draw=fails_at_three).widget().children
    power.value = 3
    assert "RuntimeError" in says.value
    assert "no curve &lt;here&gt;" in says.value


PREPARE = """
import threading, time
import matplotlib.pyplot as plt
from helpers import interactive, plotting
plotting.use_book_style()

def draw(power):
    fig, ax = plt.subplots()
    print("drawn in", threading.current_thread().name)
    time.sleep(0.2)
    ax.plot([x**power for x in range(4)])
    return fig

def describe(power):
    return f"Power {power}."

explorer = interactive.explore(
    draw, describe=describe, caption="Powers.", power=[1, 2, 3]
)
slider, _, says, *_ = explorer.widget().children
"""
# As JupyterLab does: what a reader moves arrives in another thread.
MOVE_MEANWHILE = """
def move():
    for power in [2, 3]:
        slider.value = power

mover = threading.Thread(target=move)
for size in [2, 3, 4]:
    plt.subplots(figsize=(size, 1))
    if size == 3:
        mover.start()
        mover.join()
assert "Power 1." in says.value, "drawn while this cell runs"
plt.show()
"""


def test_nothing_is_drawn_into_another_cell(tmp_path):
    """A reader moves an explorer while another cell draws three figures."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))
    shown = []

    def collect(message):
        if message["msg_type"] == "display_data":
            shown.append(message["content"]["data"])

    def run(code):
        shown.clear()
        reply = client.execute_interactive(code, output_hook=collect, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]

    try:
        run(PREPARE)
        run(MOVE_MEANWHILE)
        assert len([data for data in shown if "image/svg+xml" in data]) == 3
        run("assert 'Power 3.' in says.value and plt.get_fignums() == [], says.value")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# In a browser -----------------------------------------------------------------

FRAME = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Two</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{static}/book.css">
<script src="{static}/book.js" defer></script></head><body>
<button class="theme" hidden><span>Dark</span></button><nav id="contents"></nav>
<main><h1>Two explorers</h1>{explorers}</main></body></html>"""


@pytest.fixture
def two_explorers(tmp_path):
    """A page with two explorers and one of text, opened from a folder."""
    explorers = explore().html() + only_power(default={"power": 2}).html()
    explorers += text_of_three().html()
    static = (ROOT / "book" / "_static").as_uri()
    path = tmp_path / "two.html"
    path.write_text(FRAME.format(static=static, explorers=explorers), "utf-8")
    return path.as_uri()


def shown(explorer):
    """Return the one frame that shows: its text, or the figure's, also below it."""
    (frame,) = explorer.locator(".frame:visible").all()
    if frame.locator("pre").count():
        return frame.inner_text()
    alt = frame.locator("img").get_attribute("alt")
    assert explorer.locator(".says").inner_text() == alt
    return alt


def test_keyboard_moves_one_explorer(visit, two_explorers):
    seen = visit()
    seen.open(two_explorers)
    first, second, text = seen.page.locator("form.explorer").all()
    assert [shown(first), shown(second)] == [describe(1), describe(2)]

    seen.page.keyboard.press("Tab")  # the theme's button
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("ArrowRight")
    assert shown(first) == describe(1, "minus")
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("End")
    assert shown(first) == describe(3, "minus")
    slider = first.locator("input[type=range]")
    assert slider.get_attribute("aria-valuetext") == "3"
    assert first.locator(".value").inner_text() == "3"
    seen.page.keyboard.press("ArrowLeft")
    assert shown(first) == describe(2, "minus")
    assert shown(second) == describe(2), "the other one stays where it was"

    text.locator("input").first.press("End")
    text.locator("input").last.press("End")
    assert shown(text) == multiply(2, 3, 7)
    assert seen.complaints == []


def test_explorers_are_accessible_and_fit_a_phone(visit, two_explorers):
    page = visit(color_scheme="light").page
    page.goto(two_explorers)
    assert axe_violations_in_both_themes(page) == []
    assert fits_a_phone(page)
    assert page.locator("input[type=range]").first.is_visible()


def test_without_scripts_the_first_frame_shows(visit, two_explorers):
    page = visit(java_script_enabled=False).page
    page.goto(two_explorers)
    for explorer, text in zip(
        page.locator("form.explorer").all(),
        [describe(1), describe(2), multiply(1, 3, 5)],
        strict=True,
    ):
        assert shown(explorer) == text
        assert not explorer.locator(".controls").is_visible()
