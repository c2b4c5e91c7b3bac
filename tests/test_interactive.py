"""Explorers: as objects, as HTML, as widgets, and in a reader's browser."""

import bs4
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from book_files import CHAPTERS, ROOT, read_cells
from browser import axe_violations, built
from jupyter_client.manager import start_new_kernel
from test_site import BOOK_PAGES, PHONE, name, soup

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
    arguments = {"describe": describe, "caption": "Powers.", "power": [1, 2, 3]}
    return interactive.explore(draw, **(arguments | changes))


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


@pytest.fixture
def building(monkeypatch):
    monkeypatch.setenv("BOOK_BUILD", "1")


def parse(html):
    return bs4.BeautifulSoup(html, "html.parser")


# The object -------------------------------------------------------------------


def test_frame_has_a_picture_a_text_and_a_size():
    frame = explore().frame(power=2, sign="minus")
    assert frame.svg.startswith("<svg")
    assert frame.text == "A curve: minus x to the power 2."
    assert frame.size == (480, 192), "5 by 2 inches, 96 pixels an inch"


def test_axes_will_do_for_a_figure():
    explorer = interactive.explore(
        lambda power: draw(power).axes[0],
        describe=describe,
        caption="Powers.",
        power=[1, 2],
    )
    assert "<svg" in explorer.frame(power=1).svg


def test_frames_are_the_same_each_time():
    assert explore().html() == explore().html()


def test_default():
    explorer = explore(default={"power": 3})
    assert explorer.start == ("plus", 3), "a control without a default starts first"
    assert "sign='plus', power=3" in repr(explorer)
    assert "power 3." in repr(explorer)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"power": [1]}, ValueError, "power needs at least two values"),
        ({"power": "abc"}, ValueError, "power needs a list of values"),
        ({"power": 3}, ValueError, "power needs a list of values"),
        ({"power": [1, 2, 1]}, ValueError, "power has the value 1 more than once"),
        ({"power": range(31)}, ValueError, "62 frames are more than .* fewer values"),
        ({"c": [1, 2], "d": [1, 2]}, ValueError, "one to three controls, not 4"),
        ({"default": {"power": 7}}, ValueError, "power to 7, .* values: 1, 2, 3"),
        ({"default": {"pwer": 1}}, ValueError, "names 'pwer', .* sign, power"),
        ({"describe": "text"}, TypeError, "describe must take .* 'text' is not a call"),
        ({"draw": lambda x: None}, TypeError, r"draw must take .* \(sign, power\)"),
        ({"describe": lambda: ""}, TypeError, "describe must take the controls"),
    ],
)
def test_mistakes_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        explore(**changes)


def test_no_control_and_no_text_alternative():
    with pytest.raises(ValueError, match=r"not 0; .* stride=\[1, 2, 3\]"):
        interactive.explore(draw, describe=describe, caption="Nothing moves.")
    with pytest.raises(TypeError, match="describe must return .* not None"):
        interactive.explore(draw, caption="Powers.", power=[1, 2])


def test_what_draw_and_describe_return_is_checked():
    with pytest.raises(TypeError, match="a figure or a text, not NoneType: .*return"):
        explore(draw=lambda power, sign: None).html()
    with pytest.raises(TypeError, match="what there is to see as a text, not None"):
        explore(describe=lambda power, sign: None).html()
    with pytest.raises(TypeError, match="what there is to see as a text, not ' '"):
        explore(describe=lambda power, sign: " ").html()
    with pytest.raises(ValueError, match="'power': 1.* 'power': 2.*name what differs"):
        explore(describe=lambda power, sign: f"A {sign} curve.").html()
    with pytest.raises(ValueError, match="'c': 5.*'c': 7.*name what differs"):
        interactive.explore(lambda c: "one text", caption="Products.", c=[5, 7]).html()


# As HTML ----------------------------------------------------------------------


def test_every_frame_has_its_own_text():
    page = parse(explore(default={"sign": "minus"}).html())
    frames = page.select(".frame")
    alts = [frame.img["alt"] for frame in frames]
    # The last control moves first, as book.js counts.
    assert alts == [
        describe(power, sign) for sign in ("plus", "minus") for power in (1, 2, 3)
    ]
    shown = [frame.img["alt"] for frame in frames if not frame.has_attr("hidden")]
    assert shown == [describe(1, "minus")]
    assert page.select_one("[aria-live]").get_text() == shown[0]
    assert page.figcaption.get_text() == "Powers."
    for image in page.find_all("img"):
        assert (image["width"], image["height"]) == ("480", "192")
        assert image["loading"] == "lazy"
        assert image["src"].startswith("data:image/svg+xml;base64,")


def test_each_control_is_one_labeled_input():
    page = parse(explore(default={"power": 2}).html())
    (slider,) = page.select("label input[type=range]")
    assert slider.find_parent("label").span.get_text() == "power"
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "1")
    assert slider["aria-valuetext"] == "2"
    (choice,) = page.select("fieldset")
    assert choice.legend.get_text() == "sign"
    labels = [label.get_text() for label in choice.find_all("label")]
    assert labels == ["plus", "minus"]
    checked = [radio.has_attr("checked") for radio in choice.select("[type=radio]")]
    assert checked == [True, False]
    assert page.select_one(".controls").has_attr("hidden"), "they need a script"


def test_names_and_numbers_read_well():
    control = interactive.Control("learning_rate", (0.0001, 1.0, 1000.0, 3))
    assert control.title == "learning rate"
    assert control.labels == ["0.0001", "1", "1000", "3"]
    assert control.is_slider
    assert not interactive.Control("on", (True, False)).is_slider


def test_frames_may_be_text():
    page = parse(text_of_three(default={"b": 4}).html())
    frames = page.select(".frame")
    assert not page.select("img, .says")
    assert frames[3].pre.get_text() == "1 · 4 · 7\n= 28 < 99"
    assert len(frames) == 8
    (shown,) = (frame for frame in frames if not frame.has_attr("hidden"))
    assert shown.get_text() == multiply(1, 4, 5)
    assert shown.find_parent(attrs={"aria-live": "polite"}), "a text is read out"


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


def test_site_gets_all_frames_and_no_widget(building):
    (page,) = explore().outputs()
    assert set(page) == {"text/plain", "text/html"}
    assert len(parse(page["text/html"]).find_all("img")) == 6


def test_mistakes_fail_the_cell_and_the_build(monkeypatch):
    def fails_at_three(power):
        if power == 3:
            raise RuntimeError("no curve here")
        return draw(power)

    def explore_it(values):
        interactive.explore(
            fails_at_three, describe=describe, caption="Powers.", power=values
        )

    with pytest.raises(RuntimeError, match="no curve here"):
        explore_it([3, 1])
    explore_it([1, 3])
    monkeypatch.setenv("BOOK_BUILD", "1")
    with pytest.raises(RuntimeError, match="no curve here"):
        explore_it([1, 3])


def test_without_ipywidgets_there_is_html(monkeypatch):
    monkeypatch.setattr(interactive.importlib.util, "find_spec", lambda name: None)
    (stored,) = explore().outputs()
    assert set(stored) == {"text/plain", "text/html"}
    assert len(parse(stored["text/html"]).find_all("img")) == 1


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


def test_moving_a_widget_of_text():
    a, b, c, picture, says, *_ = text_of_three().widget().children
    c.value = 7
    b.value = 4
    assert parse(picture.value).pre.get_text() == multiply(1, 4, 7)
    assert parse(says.value).get_text() == "", "nothing is said twice"


def test_mistake_while_moving_is_shown():
    def fails_at_three(power):
        figure = draw(power)
        if power == 3:
            raise RuntimeError("no curve <here>")
        return figure

    explorer = interactive.explore(
        fails_at_three, describe=describe, caption="Powers.", power=[1, 3]
    )
    power, _, says, *_ = explorer.widget().children
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
    visible = [i for i in explorer.locator(".frame").all() if i.is_visible()]
    assert len(visible) == 1
    if visible[0].locator("pre").count():
        return visible[0].inner_text()
    alt = visible[0].locator("img").get_attribute("alt")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_explorers_are_accessible(visit, two_explorers, scheme):
    seen = visit(color_scheme=scheme)
    seen.open(two_explorers)
    assert axe_violations(seen.page) == []


def test_explorers_fit_a_phone(visit, two_explorers):
    page = visit(viewport=PHONE).page
    page.goto(two_explorers)
    assert page.locator("input[type=range]").first.is_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


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


# On the built site --------------------------------------------------------------

WITH_EXPLORERS = [path for path in BOOK_PAGES if soup(path).select("form.explorer")]
every_page_with_explorers = pytest.mark.parametrize("path", WITH_EXPLORERS, ids=name)
WITH_PICTURES = [path for path in WITH_EXPLORERS if soup(path).select(".frame img")]
every_page_with_pictures = pytest.mark.parametrize("path", WITH_PICTURES, ids=name)
OPEN_ALL = "for (const fold of document.querySelectorAll('details')) fold.open = true"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_every_explorer_is_on_the_site(chapter):
    path = built(f"book/{chapter.stem}.html")
    sources = [cell["source"] for cell in read_cells(chapter, "code")]
    expected = sum("interactive.explore(" in source for source in sources)
    assert len(soup(path).select("form.explorer")) == expected


@every_page_with_explorers
def test_explorers_on_the_site_move(visit, address, path):
    seen = visit(color_scheme="dark")
    seen.page.goto(address + name(path))
    seen.page.evaluate(OPEN_ALL)
    for explorer in seen.page.locator("form.explorer").all():
        controls = explorer.locator(".slider input, .choice").all()
        assert 1 <= len(controls) <= 3
        for control in controls:
            before = shown(explorer)
            radio = control.locator("input:checked")
            (radio if radio.count() else control).focus()
            value = seen.page.evaluate("document.activeElement.value")
            seen.page.keyboard.press("ArrowLeft")  # one end wraps or stays
            if seen.page.evaluate("document.activeElement.value") == value:
                seen.page.keyboard.press("ArrowRight")
            assert shown(explorer) != before
    seen.page.wait_for_load_state("networkidle")
    sources = "[...document.querySelectorAll('.frame img')].map((i) => i.currentSrc)"
    for source in filter(None, seen.page.evaluate(sources)):
        assert source.endswith("-dark.svg")
    assert seen.complaints == []


@every_page_with_pictures
def test_frames_wait_until_the_reader_moves(visit, address, path):
    seen = visit()
    seen.page.goto(address + name(path))
    seen.page.wait_for_load_state("networkidle")
    hidden = seen.page.evaluate(
        "[...document.querySelectorAll('.frame[hidden] img')].map((i) => i.src)"
    )
    assert hidden
    assert not set(hidden) & set(seen.requests)
    seen.page.locator("form.explorer input").first.focus()
    seen.page.wait_for_load_state("networkidle")
    first = seen.page.evaluate(
        "[...document.querySelector('form.explorer').querySelectorAll('img')]"
        ".map((i) => i.src)"
    )
    assert set(first) <= set(seen.requests)


@every_page_with_explorers
def test_frames_are_small_and_described(path):
    for explorer in soup(path).select("form.explorer"):
        pictures = explorer.select(".frame img")
        texts = [image["alt"] for image in pictures]
        texts += [text.get_text() for text in explorer.select(".frame pre")]
        assert len(set(texts)) == len(texts) == len(explorer.select(".frame")) > 1
        assert len(str(explorer)) < 60_000, "what each reader of the page is sent"
        files = {path.parent.joinpath(image["src"]).resolve() for image in pictures}
        sizes = [file.stat().st_size for file in files]
        assert max(sizes, default=0) < 120_000
        assert sum(sizes) < 1_500_000, "what one who moves the explorer is sent"
    ids = [explorer["id"] for explorer in soup(path).select("form.explorer")]
    assert len(set(ids)) == len(ids)
