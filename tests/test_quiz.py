"""The quizzes: their questions, the numbers in their answers, how they are shown."""

import ast
import math
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
import torch
from book_files import BELITTLING, CHAPTERS
from torch import nn

from helpers.exercises import Quiz, _quiz, quiz
from helpers.exercises._quiz import Answer, Question
from helpers.models import count_parameters

QUIZZES = {
    path.stem: quiz(path.stem).questions for path in sorted(_quiz.QUIZZES.glob("*"))
}
QUESTIONS = [question for questions in QUIZZES.values() for question in questions]
every_question = pytest.mark.parametrize(
    "question",
    QUESTIONS,
    ids=[f"{c}.{n + 1}" for c, q in QUIZZES.items() for n in range(len(q))],
)


def texts_of(question):
    yield question.text
    for answer in question.answers:
        yield answer.text
        yield answer.feedback


def place_of_right(question):
    return [answer.right for answer in question.answers].index(True)


# The questions ------------------------------------------------------------------


def test_every_chapter_has_five_questions():
    assert list(QUIZZES) == [path.stem[:2] for path in CHAPTERS]
    assert {len(questions) for questions in QUIZZES.values()} == {5}


@every_question
def test_one_answer_is_right_and_each_has_its_own_feedback(question):
    assert 3 <= len(question.answers) <= 4
    assert sum(answer.right for answer in question.answers) == 1
    assert len({answer.text for answer in question.answers}) == len(question.answers)
    for answer in question.answers:
        why = re.sub(r"^(Right|No|Not quite)\. ", "", answer.feedback)
        assert why != answer.feedback, "the first word says it, not a color alone"
        assert len(why.split()) >= 5, "say why, too"


@every_question
def test_voice_and_markup(question):
    for text in texts_of(question):
        assert text == " ".join(text.split())
        assert text.count("`") % 2 == 0
        prose = re.sub(r"`[^`]*`", "", text)
        assert prose.count("*") % 2 == 0
        assert "$" not in prose, "formulas need MathJax: use words"
        assert not re.search(BELITTLING, prose, flags=re.I)
    assert all(len(line) <= 42 for line in question.code.splitlines()), "on a phone"
    if not question.code.startswith("-1"):  # a kernel, drawn as a table
        ast.parse(question.code)


def test_nothing_is_said_twice():
    feedback = [answer.feedback for q in QUESTIONS for answer in q.answers]
    for texts in ([question.text for question in QUESTIONS], feedback):
        assert len(set(texts)) == len(texts)


def test_the_right_answer_cannot_be_guessed_from_its_place_or_length():
    for part in QUIZZES.values():
        assert len({place_of_right(question) for question in part}) >= 3
    places = [place_of_right(question) for question in QUESTIONS]
    assert max(places.count(place) for place in places) < 0.5 * len(places)
    longest = [max(q.answers, key=lambda a: len(a.text)).right for q in QUESTIONS]
    assert sum(longest) < 0.5 * len(longest)


# The numbers in their answers -----------------------------------------------------


def name_of_what_is_no_view():
    x = torch.arange(1.0, 13).view(3, 4)
    made = {"`x[1:]`": x[1:], "`x.T`": x.T}
    made |= {"`x.flatten()`": x.flatten(), "`x[x > 0]`": x[x > 0]}
    x.zero_()
    (kept,) = (name for name, tensor in made.items() if tensor.any())
    return kept


def mean_of_two_bytes():
    a, b = torch.tensor([[200], [100]], dtype=torch.uint8)
    return f"{((a + b) / 2).item():g}"


def edge_in_an_even_gray():
    kernel = torch.tensor([[-1.0, 0, 1]] * 3)[None, None]
    gray = torch.full((1, 1, 3, 3), 7.0)
    return f"{nn.functional.conv2d(gray, kernel).item():g}"


def step_against_a_negative_slope():
    per_km = nn.Parameter(torch.zeros(()))
    (-30 * per_km).backward()
    with torch.no_grad():
        per_km -= 0.01 * per_km.grad
    size = "larger" if per_km > 0 else "smaller"
    return f"It makes it {size} by {abs(per_km.item()):.1f}."


def shape_after_a_stride():
    layer = nn.Conv2d(1, 6, kernel_size=3, stride=2)
    return str(tuple(layer(torch.zeros(64, 1, 28, 28)).shape))


def what_dropout_leaves_of_ones():
    values = nn.Dropout(p=0.75)(torch.ones(10_000)).unique().tolist()
    return " and ".join(f"{value:g}" for value in values)


def rate_that_makes_up_for_momentum():
    velocity = 0.0
    for _ in range(500):
        velocity = 0.9 * velocity + 1
    return f"{0.01 * velocity:.1f}"


def share_that_cannot_be():
    shares = ("97.3", "97.05", "97.316")
    (broken,) = (share for share in shares if float(share) * 100 % 1)
    return f"{broken} %"


def bfloat16_after_a_hundred_small_steps():
    weight = torch.tensor(1.0).bfloat16()
    for _ in range(100):
        weight += 0.001
    return f"{weight.item():g}"


COMPUTED = [
    ("01", name_of_what_is_no_view),
    ("01", mean_of_two_bytes),
    ("01", step_against_a_negative_slope),
    ("02", lambda: str(round(64 * 2**2))),  # half the error, four times the examples
    ("02", edge_in_an_even_gray),
    ("04", shape_after_a_stride),
    ("04", what_dropout_leaves_of_ones),
    ("05", lambda: f"{math.log(100):.1f}"),
    ("05", rate_that_makes_up_for_momentum),
    ("06", share_that_cannot_be),
    ("09", lambda: str(count_parameters(nn.Conv2d(3, 6, kernel_size=5)))),
    ("10", lambda: " and ".join(f"{max(2, 0.05 * n):g} ms" for n in (4, 100))),
    ("10", bfloat16_after_a_hundred_small_steps),
]


@pytest.mark.parametrize(("chapter", "compute"), COMPUTED)
def test_a_number_in_a_right_answer_is_what_comes_out(chapter, compute):
    right = [q.answers[place_of_right(q)].text for q in QUIZZES[chapter]]
    assert compute() in right


# How they are shown ---------------------------------------------------------------


def parse(html):
    """Return the tree of HTML in which each element that opens closes in its place."""
    return ElementTree.fromstring(f"<div>{html}</div>")


def said(tree):
    return " ".join("".join(tree.itertext()).split())


@pytest.mark.parametrize("chapter", QUIZZES)
def test_html_is_whole_and_needs_no_script(chapter):
    tree = parse(quiz(chapter)._repr_html_())
    questions = QUIZZES[chapter]
    tags = Counter(element.tag for element in tree.iter())
    assert tags["fieldset"] == tags["legend"] == len(questions)
    assert tags["details"] == sum(len(q.answers) for q in questions)
    assert tags["summary"] == tags["p"] == tags["details"]
    assert not {"script", "style"} & set(tags)
    for element in tree.iter():
        assert not {"id", "name", "open", "onclick"} & set(element.attrib)
    shown = said(tree)
    for question in questions:
        for text in texts_of(question):
            assert said(parse(_quiz._inline(text))) in shown


def test_everything_but_code_and_emphasis_is_escaped():
    assert _quiz._inline("a < b & `x[x > 0]` is *not* **") == (
        "a &lt; b &amp; <code>x[x &gt; 0]</code> is <em>not</em> **"
    )
    assert _quiz._inline("`2 * a * b`") == "<code>2 * a * b</code>"
    bad = Answer("<b>", 'Right. <script>alert("x")</script>')
    html = Quiz("01", [Question("<i>?", [bad], code="if a < b:")])._repr_html_()
    assert "<pre" in html
    assert "a &lt; b" in html
    for tag in ("<b>", "<i>", "<script>"):
        assert tag not in html
    parse(html)


def test_the_sign_is_not_read_aloud_and_the_verdict_is_a_word():
    html = quiz("01")._repr_html_()
    assert html.count('<span aria-hidden="true">✓</span> Right.</strong> ') == 5
    wrong = r'<span aria-hidden="true">✗</span> (No|Not quite)\.</strong> '
    assert len(re.findall(wrong, html)) == html.count("<details") - 5


def test_text_without_html():
    text = repr(quiz("05"))
    assert text.startswith("Quiz 05\n\n1. ")
    questions, answers = text.split("\nAnswers\n")
    assert "Right." not in questions
    for number, question in enumerate(QUIZZES["05"], start=1):
        right = "abcd"[place_of_right(question)]
        assert f"\n{number}{right}) Right. " in f"\n{answers}"
        assert question.code.replace("\n", "\n       ") in questions


@pytest.mark.parametrize("name", ["00", "5", "99", "", 5, None, ["01"]])
def test_unknown_quizzes(name):
    with pytest.raises(
        ValueError, match=r"there is no quiz .* There are, as text: 01, 02, .*11"
    ):
        quiz(name)
