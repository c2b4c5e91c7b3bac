"""The Chinese edition: a little book in two languages, and what its check finds."""

import io
import json
import os
import re
import shutil
import sys
from types import SimpleNamespace

import bs4
import nbformat
import polib
import pytest
from book_files import ROOT
from browser import axe_violations, served
from little_book import build, write_book

from helpers.exercises import hint, quiz

sys.path.append(str(ROOT / "book" / "_ext"))

import booksite_zh as zh

CHINESE = {
    "# One": "# 一",
    "About one.": "讲的是一。",
    "## GPU first": "## 先讲 GPU",
    "### Strides (optional)": "### 步子（选读）",
    "A line that rises.": "一条上升的线。",
    "Step a.": "第 a 步。",
}


def fill(path, texts):
    """Give the entries of a PO file their Chinese; the rest stays as it is."""
    file = polib.pofile(str(path))
    for entry in file:
        entry.msgstr = entry.msgstr or texts.get(entry.msgid, entry.msgid)
    file.save()


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    """Build the little book with a Chinese page; return what there is to look at."""
    root = write_book(tmp_path_factory.mktemp("edition"))
    locale = root / "book" / "locale" / "zh_CN"
    locale.mkdir(parents=True)
    shutil.copy(ROOT / "book" / "locale" / "zh_CN" / "site.po", locale)
    zh.main("update", "01-one", root=root)
    # What an explorer shows is known when it has run; here it is known before.
    cells = nbformat.read(root / "book" / "01-one.ipynb", as_version=4).cells
    explorer = next(cell.id for cell in cells if "explorer" in cell.source)
    file = polib.pofile(str(locale / "01-one.po"))
    for text in ("Step a.", "Step b.", "Step c.", "Step d."):
        file.append(polib.POEntry(msgctxt=f"{explorer} shows", msgid=text))
    file.save()
    for path in locale.glob("*.po"):
        fill(path, CHINESE)
    done = build(root)
    assert done.returncode == 0, done.stdout + done.stderr
    site = root / "_build" / "html"

    def page(name):
        return bs4.BeautifulSoup(site.joinpath(name).read_text("utf-8"), "html.parser")

    return SimpleNamespace(root=root, site=site, page=page, said=done.stderr)


# The site -----------------------------------------------------------------------


def test_a_chinese_page_has_the_same_results_and_sections(little):
    english, chinese = (
        little.page("book/01-one.html"),
        little.page("zh/book/01-one.html"),
    )
    assert chinese.html["lang"] == "zh-Hans"
    assert chinese.h1.get_text().startswith("1. 一")
    assert little.said.count("Execution Successful") == 3, "each notebook once"
    for selector in ("section[id]", "div.cell_input", "details.optional"):
        assert len(chinese.select(selector)) == len(english.select(selector)) > 0
    anchors = [section["id"] for section in english.select("section[id]")]
    assert [section["id"] for section in chinese.select("section[id]")] == anchors
    assert chinese.select_one("td a")["href"] == "#strides-optional"
    facts = chinese.select_one(".facts").get_text(" ", strip=True)
    assert "阅读约 2 分钟，选读另需 3 分钟" in facts


def test_what_cells_show_is_in_chinese_too(little):
    page = little.page("zh/book/01-one.html")
    alternatives = [image["alt"] for image in page.select("main img")]
    assert "一条上升的线。" in alternatives
    assert "第 a 步。" in alternatives
    solution = page.select_one("details.solution")
    assert solution.summary.get_text() == "解答：点击展开"
    for image in page.select("main img"):
        file = little.site.joinpath("zh", "book", image["src"]).resolve()
        assert file.is_relative_to(little.site / "_images")
        assert file.is_file()


def test_pages_in_english_only_are_marked_and_have_no_switch(little):
    assert not little.site.joinpath("zh", "book", "02-two.html").exists()
    assert not little.page("book/02-two.html").select("a.language")
    page = little.page("zh/book/01-one.html")
    for link in [*page.select("nav#contents li a"), page.select_one("#deeper p a")]:
        target = little.site.joinpath("zh", "book", link["href"].partition("#")[0])
        in_english = "02" in link["href"] or "03" in link["href"]
        assert (link.get("hreflang") == "en") == in_english
        assert in_english == (little.site / "book" in target.resolve().parents)
    assert page.select_one("#deeper p a")["href"] == "../../book/02-two.html#links"
    numbers = [a.get_text() for a in page.select("nav#contents li.toctree-l1 > a")]
    assert numbers == ["1. 一", "2. Two", "3. Three"]


def test_the_notebook_to_take_away_is_chinese(little):
    path = little.site / "zh" / "notebooks" / "01-one.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith("## 运行之前")
    assert any(cell.source.startswith("# 一") for cell in cells)
    assert "(#步子（选读）)" in "".join(cell.source for cell in cells)
    assert not any(cell.get("outputs") for cell in cells)


def test_the_switch_and_the_search_in_a_browser(little, visit):
    base = little.site.as_uri()
    seen = visit(viewport={"width": 390, "height": 600})
    seen.page.goto(f"{base}/book/01-one.html#gpu-first")
    seen.page.wait_for_function("scrollY > 0")
    seen.page.click("a.language")
    seen.page.wait_for_url(f"{base}/zh/book/01-one.html#gpu-first")
    width = seen.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    seen.page.goto(f"{base}/zh/search.html?q=讲的是什么")
    hit = seen.page.locator("#search-results li a").first
    assert hit.inner_text() == "一"
    assert "在 1 节中找到" in seen.page.locator("[role=status]").inner_text()
    hit.click()
    seen.page.click("a.language")
    seen.page.wait_for_url(f"{base}/book/01-one.html")
    assert seen.requests_elsewhere(base) == []
    assert seen.complaints == []
    with served(little.site) as address:
        page = visit(color_scheme="dark").page
        page.goto(f"{address}zh/book/01-one.html")
        assert axe_violations(page) == []


# What the English becomes ---------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    """A book of one page with a Chinese file, and how to change the page."""
    for folder in ("book/locale/zh_CN", "book/_templates", "helpers/exercises"):
        tmp_path.joinpath(folder).mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml", "book/_templates/first-cells.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    locale = tmp_path / "book" / "locale" / "zh_CN"

    def write(text, *names):
        tmp_path.joinpath("book", "page.md").write_text(text, "utf-8")
        zh.main("update", *names, root=tmp_path)
        return {e.msgid: e for e in polib.pofile(str(locale / "page.po"))}

    write(
        "# Page\n\nThe first.\n\nThe second has words.\n\n## End\n\nIt ends.\n", "page"
    )
    fill(
        locale / "page.po",
        {"The second has words.": "第二段有字。", "It ends.": "完。"},
    )
    fill(locale / "site.po", {})
    return SimpleNamespace(
        write=write,
        root=tmp_path,
        po=locale / "page.po",
        catalogs=zh.Catalogs(tmp_path),
    )


def test_what_moved_keeps_its_chinese(book):
    assert zh.check(book.catalogs) == []
    there = book.write(
        "# Page\n\nNew.\n\nThe second has words.\n\n## End\n\nIt ends.\n"
    )
    assert there["The second has words."].msgstr == "第二段有字。"
    assert there["The second has words."].msgctxt == "Page 3"
    assert (there["It ends."].msgctxt, there["It ends."].msgstr) == ("End 2", "完。")
    assert "The first." not in there
    assert [fault for fault in zh.check(book.catalogs) if "no Chinese" in fault]


def test_what_changed_is_stale_and_shown_in_english(book):
    page = "# Page\n\nThe first.\n\nThe second has more words.\n\n## End\n\nIt ends.\n"
    entry = book.write(page)["The second has more words."]
    assert entry.fuzzy
    assert entry.previous_msgid == "The second has words."
    entry = book.write(page.replace("more", "many more"))
    assert next(iter(zh.check(book.catalogs))).startswith("1 blocks are stale")
    shown = book.catalogs.chinese("page")
    assert f"{zh.STALE_NOTE}The second has many more words." in shown
    assert "第二段有字" not in shown
    assert "## End\n\n完。\n" in shown


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (
            "# Page\n\nThe first.\n\nThe second has words.\n\n## End\n",
            "there is no End 2",
        ),
        (
            "# Page\n\nThe first.\n\nNo.\n\n## End\n\nIt ends.\n",
            "no Chinese for Page 3",
        ),
    ],
)
def test_a_page_that_was_not_updated(book, page, fault):
    book.root.joinpath("book", "page.md").write_text(page, "utf-8")
    assert any(fault in found for found in zh.check(book.catalogs))
    assert zh.main("check", root=book.root) == 1


def test_faults_are_told_in_any_encoding(book, monkeypatch):
    monkeypatch.setattr(zh, "check", lambda catalogs: ["half-width in 这,再"])
    output = io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", output)
    assert zh.main("check", root=book.root) == 1
    assert b"half-width in \\u8fd9,\\u518d" in output.buffer.getvalue()


def test_what_is_to_be_seen_in_a_solution_is_said_in_chinese():
    there = {("a alt", "A <line>."): "一条“线”。", ("site", "Solution"): "解答"}
    shown = '<details class="solution"><summary>Solution</summary><img alt="A &lt;line'
    output = nbformat.v4.new_output(
        "display_data", data={"text/html": f'{shown}&gt;."></details>'}
    )
    source = "%%solution 01.2\n# Seen: A <line>.\nplt.show()"
    cell = nbformat.v4.new_code_cell(source, id="a", outputs=[output])
    zh.rewrite_results(cell, lambda *block: there[block])
    assert '<summary>解答</summary><img alt="一条“线”。">' in output.data["text/html"]


@pytest.mark.parametrize(
    ("english", "chinese", "fault"),
    [
        ("see [it](a.md#b)", "看[它](a.md#c)", "links"),
        ("where $x > 1$", "其中 $x > 2$", "formulas"),
        ("call `fit`", "调用 `eval`", "code"),
        ("10,000 digits", "1,000 个数字", "numbers"),
        ("Found in {n} sections", "在 {m} 节中找到", "placeholders"),
        ("about %(n)s min", "约 %(m)s 分钟", "placeholders"),
        ("a five in 2 parts", "分成 2 份的 6", "numbers"),
        ("## Data", "### 数据", "heading level"),
        ("| a | b |\n|---|---|", "| 甲 | 乙 | 丙 |\n|---|---|---|", "table"),
        ("[loss](glossary.md#loss)", "[失误](glossary.md#loss)", "called 失误"),
        ("first, then", "先做这,再做那", "half-width"),
        ("it (so)", "它(如此)", "half-width"),
        ("**It.** So", "**是的。**所以", "does not come out"),
        ("```{try} lr=1\nIt learns.\n```", "```{try} lr=2\n它在学。\n```", "fences"),
        ("```{try} a\nAfter 2.\n```", "```{try} a\n3 之后。\n```", "numbers"),
    ],
)
def test_the_check_finds(english, chinese, fault):
    names = {"loss": ["损失"]}
    assert any(fault in found for found in zh.compare(english, chinese, names))


def test_the_check_lets_pass_what_fits():
    english = "A five: [loss](glossary.md#loss) of 2.5 at `a, b`, *not* $1$. **It.** So"
    chinese = (
        "5：`a, b` 处的[损失（loss）](glossary.md#loss)是 2.5，*不是* $1$。**是。** 好"
    )
    for ours, theirs in [
        (english, chinese),
        ("```{try} lr=1\nIt learns.\n```", "```{try} lr=1\n它在学。\n```"),
    ]:
        assert list(zh.compare(ours, theirs, {"loss": ["损失"]})) == []


def test_the_edition_fits(tmp_path):
    # What explorers say may hang on the machine; there English stands in.
    without_results = zh.Catalogs(ROOT, cache=tmp_path / "none")
    assert zh.check(without_results) == []


def test_the_chinese_readme_has_the_same_commands_links_and_numbers():
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    # At its top, each leads to the other.
    text = chinese.read_text("utf-8").replace(f"({english.name})", f"({chinese.name})")
    assert list(zh.compare(english.read_text("utf-8"), text, {})) == []


def test_blocks_end_at_blank_lines_outside_fences():
    text = "Words.\n\n```py\nx = 1\n\ny\n```\n\n- one\n- two\n\n    c = 1\n\n$$a$$\n"
    seen = []
    written = zh.rewrite_text(text, "cell", lambda name, t: seen.append((name, t)) or t)
    assert written == text
    assert seen == [("cell 1", "Words."), ("cell 3", "- one\n- two")]


def test_frames_that_differ_in_numbers_share_an_entry():
    chinese = {"w is {0}, slope {1}.": "斜率是 {1}，w 是 {0}。"}
    said = zh.say_numbers("w is -1.5, slope 2.", "cell", lambda _, text: chinese[text])
    assert said == "斜率是 2，w 是 -1.5。"


# What the exercises say -------------------------------------------------------------


def test_quizzes_and_hints_speak_chinese(monkeypatch):
    english = quiz("01")
    monkeypatch.setenv("PYTORCH_BY_HAND_LANGUAGE", "zh_CN.UTF-8")
    chinese = quiz("01")
    for one, other in zip(english.questions, chinese.questions, strict=True):
        assert one.code == other.code
        assert re.search(zh.HAN, other.text)
        assert [a.right for a in one.answers] == [a.right for a in other.answers]
    html = chinese._repr_html_()
    assert html.count('<span aria-hidden="true">✓</span> 对。</strong>') == 5
    assert re.search(zh.HAN, hint("01.1", 1).split("：", 1)[1])
    monkeypatch.setenv("PYTORCH_BY_HAND_LANGUAGE", "en")
    assert quiz("01") == english
    assert os.environ["PYTORCH_BY_HAND_LANGUAGE"] == "en"
    assert json.dumps(english.questions[0].text).isascii()
