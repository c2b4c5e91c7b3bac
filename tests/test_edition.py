"""The Chinese edition: what becomes of the English, and what its check finds.

How it looks is tested in test_booksite.py.
"""

import io
import re
import shutil
import sys
from types import SimpleNamespace

import nbformat
import polib
import pytest
from book_files import ROOT
from little_book import fill, zh

from helpers.exercises import hint, quiz

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
        ("## Data", "##数据", "heading level"),
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
        assert not re.search(zh.HAN, one.text)
        assert [a.right for a in one.answers] == [a.right for a in other.answers]
    html = chinese._repr_html_()
    assert html.count('<span aria-hidden="true">✓</span> 对。</strong>') == 5
    assert re.search(zh.HAN, hint("01.1", 1).split("：", 1)[1])
    monkeypatch.setenv("PYTORCH_BY_HAND_LANGUAGE", "en")
    assert quiz("01") == english
