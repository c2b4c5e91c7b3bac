"""The quizzes: their questions, what is claimed in them, how they are shown."""

import ast
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from book_files import CHAPTERS
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from helpers.classroom._chapters import answers, cells_of, read_chapter
from helpers.classroom._editions import instructor_notebook, student_notebook
from helpers.exercises import _quiz, quiz
from helpers.exercises.quizzes import QUIZZES, Answer, Question
from helpers.models import DropoutNet, count_parameters

ALL = [
    pytest.param(question, id=f"{chapter}.{number}")
    for chapter, questions in QUIZZES.items()
    for number, question in enumerate(questions, start=1)
]
every_question = pytest.mark.parametrize("question", ALL)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


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
        verdict = r"Right\. " if answer.right else r"(No|Not quite)\. "
        why = re.sub(f"^{verdict}", "", answer.feedback)
        assert why != answer.feedback, "the first word says it, not a color alone"
        assert len(why.split()) >= 5, "say why, too"


def test_nothing_is_said_twice():
    questions = [question for part in QUIZZES.values() for question in part]
    for texts in (
        [question.text for question in questions],
        [answer.feedback for question in questions for answer in question.answers],
    ):
        assert len(set(texts)) == len(texts)


def test_the_right_answer_cannot_be_guessed_from_its_place_or_length():
    questions = [question for part in QUIZZES.values() for question in part]
    for part in QUIZZES.values():
        assert len({place_of_right(question) for question in part}) >= 3
    places = [place_of_right(question) for question in questions]
    assert max(places.count(place) for place in places) < 0.5 * len(places)
    longest = [
        max(question.answers, key=lambda answer: len(answer.text)).right
        for question in questions
    ]
    assert sum(longest) < 0.5 * len(longest)


@every_question
def test_voice_and_markup(question):
    for text in texts_of(question):
        assert text == " ".join(text.split())
        assert text.count("`") % 2 == 0
        prose = re.sub(r"`[^`]*`", "", text)
        assert prose.count("*") % 2 == 0
        assert "$" not in prose, "formulas need MathJax: use words"
        out = r"\b(simply|just|obviously|of course|easy|easily)\b"
        assert not re.search(out, prose, flags=re.I)
    for line in question.code.splitlines():
        assert len(line) <= 42, "on a phone"


# What is claimed in them ----------------------------------------------------------

FACTS = {}


def fact(chapter, number):
    """Register a function that finds out how the right answer begins."""

    def add(function):
        FACTS[chapter, number] = function
        return function

    return add


@fact("01", 1)
def _():
    rows = torch.rand(12, 784)
    assert (rows - rows.mean(dim=1, keepdim=True)).shape == rows.shape
    assert (rows - rows.mean(dim=0)).shape == rows.shape
    with pytest.raises(RuntimeError):
        rows - rows.mean(dim=1)
    return "It stops with an error."


@fact("01", 2)
def _():
    x = torch.arange(1.0, 13).view(3, 4)
    made = {"`x[1:]`": x[1:], "`x.T`": x.T}
    made |= {"`x.flatten()`": x.flatten(), "`x[x > 0]`": x[x > 0]}
    x.zero_()
    (kept,) = (name for name, tensor in made.items() if tensor.any())
    return kept


@fact("01", 3)
def _():
    a, b = torch.tensor([[200], [100]], dtype=torch.uint8)
    return f"{((a + b) / 2).item():g}"


@fact("01", 4)
def _():
    scores = torch.rand(50, 10)
    best = scores.argmax(dim=0)
    assert best.shape == (10,)
    assert torch.equal(scores[best, torch.arange(10)], scores.amax(dim=0))
    return "10 numbers: for each class, which digit"


@fact("01", 5)
def _():
    change = -0.01 * -30
    return f"It makes it larger by {change:g}."


@fact("02", 1)
def _():
    (size,) = (n for n in (128, 256, 4096) if math.sqrt(n / 64) == 2)
    return str(size)


@fact("02", 3)
def _():
    kernel = torch.tensor([[-1.0, 0, 1]] * 3)
    assert (kernel[:, 2] * 7).sum() == 21
    return f"{F.conv2d(torch.full((1, 1, 3, 3), 7.0), kernel[None, None]).item():g}"


@fact("02", 4)
def _():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(784, 200), nn.Linear(200, 100), nn.Linear(100, 10))
    one = nn.Linear(784, 10)
    with torch.no_grad():
        a, b, c = (layer.weight for layer in layers)
        one.weight.copy_(c @ b @ a)
        one.bias.copy_(layers(torch.zeros(1, 784))[0])
        images = torch.rand(20, 784)
        assert torch.allclose(layers(images), one(images), atol=1e-5)
    return "Nothing."


@fact("02", 5)
def _():
    a, b = -math.log(0.1), -math.log(0.001)
    assert (round(a, 1), round(b, 1)) == (2.3, 6.9)
    return f"B's is {b / a:.0f} times as large."


@fact("03", 1)
def _():
    pixels = np.full((28, 28), 255, dtype=np.uint8)
    to_tensor = transforms.ToTensor()
    assert to_tensor(pixels).max() == 1
    assert to_tensor(pixels.astype(np.float32)).max() == 255
    assert to_tensor(pixels.astype(np.float32)).shape == (1, 28, 28)
    return "`ToTensor` divides by 255 only if the input holds bytes."


@fact("03", 2)
def _():
    ends = [round((shade - 0.1307) / 0.3081, 2) for shade in (0, 1)]
    assert ends == [-0.42, 2.82]
    return "Some pixels are black."


@fact("03", 3)
def _():
    def two_orders():
        generator = torch.Generator()
        generator.manual_seed(0)
        loader = DataLoader(range(50), shuffle=True, generator=generator)
        return [torch.cat(list(loader)).tolist() for _ in range(2)]

    today = two_orders()
    assert today[0] != today[1]
    assert today == two_orders()
    return "Two orders today, and the same two tomorrow."


@fact("04", 1)
def _():
    layer = nn.Conv2d(1, 6, kernel_size=3, stride=2)
    return str(tuple(layer(torch.zeros(64, 1, 28, 28)).shape))


@fact("04", 2)
def _():
    model, x = DropoutNet(), torch.zeros(1, 1, 56, 56)
    for conv in (model.conv1, model.conv2):
        x = F.max_pool2d(conv(x), 2)
    assert x.shape == (1, 20, 11, 11)
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 1, 56, 56))
    return "`fc1`"


@fact("04", 4)
def _():
    torch.manual_seed(0)
    dropped = nn.Dropout(p=0.75)(torch.ones(10_000))
    assert 0.7 < (dropped == 0).float().mean() < 0.8
    return " and ".join(f"{value:g}" for value in dropped.unique().tolist())


@fact("04", 5)
def _():
    logits = torch.tensor([2.0, 1.0, 0.0])
    before, after = logits.softmax(dim=0), (2 * logits).softmax(dim=0)
    assert after.max() > before.max()
    assert after.argmax() == before.argmax()
    return "The largest one grows, and the answer stays the same."


@fact("05", 1)
def _():
    return f"{math.log(100):.1f}"


@fact("05", 2)
def _():
    def learn(first):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(5):
            if first:
                optimizer.zero_grad()
            loss = model(torch.rand(4, 3)).square().mean()
            if not first:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.weight

    assert torch.equal(learn(True), learn(False))
    return "Nothing."


@fact("05", 4)
def _():
    velocity = 0.0
    for _ in range(500):
        velocity = 0.9 * velocity + 1
    return f"{0.01 * velocity:.1f}"


@fact("05", 5)
def _():
    torch.manual_seed(0)
    logits, labels = torch.randn(640, 10), torch.randint(10, (640,))
    total = sum(
        F.cross_entropy(*part).item()
        for part in zip(logits.split(64), labels.split(64), strict=True)
    )
    ratio = F.cross_entropy(logits, labels).item() / (total / 640)
    return f"It is about {ratio:.0f} times too small."


@fact("06", 1)
def _():
    shares = ("97.3", "97.05", "97.316")
    (broken,) = (share for share in shares if float(share) * 100 % 1)
    return f"{broken} %"


@fact("06", 2)
def _():
    errors = [math.sqrt(p * (1 - p) / 400) for p in (0.90, 0.92)]
    assert errors[0] == pytest.approx(0.015)
    assert math.hypot(*errors) == pytest.approx(0.02, abs=0.0005)
    return "The difference is no larger than what chance makes."


@fact("06", 4)
def _():
    torch.manual_seed(0)
    model, images = DropoutNet().eval(), torch.rand(8, 1, 28, 28)
    logits = model(images)
    assert logits.requires_grad
    with torch.no_grad():
        assert torch.equal(model(images), logits)
    return "It takes more memory than it needs to."


@fact("07", 1)
def _():
    weights = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.01)
    (weights * torch.tensor([100.0, 1.0, 0.0001])).sum().backward()
    optimizer.step()
    assert torch.allclose(weights, torch.full((3,), -0.01), rtol=1e-3)
    return "It jumps up within a few steps"


@fact("07", 4)
def _():
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(range(4_800), 64, shuffle=True, generator=generator)
    before, after = iter(loader), None
    seen = [next(before) for _ in range(40)]
    after = iter(loader)
    seen += [next(after) for _ in range(35)]
    digits = torch.cat(seen)
    assert len(digits) == 4_800
    assert len(digits.unique()) < 4_000
    return "Some digits come twice, others never."


@fact("08", 1)
def _():
    return str(count_parameters(nn.Conv2d(3, 6, kernel_size=5)))


@fact("08", 3)
def _():
    torch.manual_seed(0)
    norm, x = nn.BatchNorm2d(3), torch.rand(8, 3, 4, 4)
    assert torch.equal(norm(x)[0], norm(x)[0])
    assert not torch.allclose(norm(x)[0], norm(x[:4])[0])
    norm.eval()
    assert torch.equal(norm(x)[0], norm(x[:4])[0])
    return "`model.eval()`"


@fact("08", 4)
def _():
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20):
        y = y + 0.1 * y
    y.backward()
    assert x.grad.item() == pytest.approx(1.1**20)
    return f"It arrives, as 1.1 to the power of 20: about {x.grad:.0f} times as large."


@fact("09", 2)
def _():
    assert 2 + 400 * 0.1 == 42
    assert 2 + 400 * 0.1 / 10 == 6
    return f"{2 + 4 * 0.1 / 10:.2f} ms"


@fact("09", 3)
def _():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = torch.full((3, 1, 1), 0.5)

    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(2, 3, 8, 8, device="meta") - Net().to("meta").mean
    return "It stops: two devices in one computation."


@fact("09", 4)
def _():
    weight = torch.tensor(1.0).bfloat16()
    assert f"{1 + torch.finfo(weight.dtype).eps:.3f}" == "1.008"
    for _ in range(100):
        weight += 0.001
    return f"{weight.item():g}"


@fact("10", 1)
def _():
    sure = torch.eye(10)[:1].repeat(100, 1)  # probabilities, taken for logits
    labels = torch.zeros(100, dtype=torch.int64)
    floor = F.cross_entropy(sure, labels).item()
    assert floor == pytest.approx(1.461, abs=5e-4)
    labels[:3] = 1  # 97 % right
    assert f"{F.cross_entropy(sure, labels).item():.2f}" == "1.49"
    return "At the end of the network: there may be a softmax."


@fact("10", 3)
def _():
    predictions = torch.arange(64) % 10
    labels = predictions.view(-1, 1)
    hits = (predictions == labels).sum()
    assert f"{hits / len(labels):.0%}" == "644%"
    return "The labels are a column of shape (64, 1)."


@fact("10", 5)
def _():
    images = torch.rand(64, 1, 28, 28)
    assert images.view(-1, 392).shape == (128, 392)
    assert images.flatten().shape == (64 * 784,)
    mixed, rows = images.reshape(784, -1).T, images.flatten(start_dim=1)
    assert mixed.shape == rows.shape == (64, 784)
    assert torch.equal(rows[5], images[5].flatten())
    assert not torch.equal(mixed[5], rows[5])
    return "`images.flatten(start_dim=1)`"


@fact("11", 1)
def _():
    found = [share for share in (54.6, 55.9, 56.0) if f"{int(share)} %" == "55 %"]
    assert len(found) == 1
    return f"{found[0]} %"


@fact("11", 3)
def _():
    assert f"{10 * 0.9886**79:.0f}" == "4"
    return "It is what chance gives."


@fact("11", 4)
def _():
    logits = torch.tensor([3.0, 1.0, 0.0])
    once = logits.log_softmax(dim=0)
    assert torch.allclose(once.log_softmax(dim=0), once)
    assert (
        logits.softmax(dim=0).softmax(dim=0).max() < 0.6 < logits.softmax(dim=0).max()
    )
    return "No: Adam hides what it costs"


@fact("11", 5)
def _():
    for n, possible in ((10_000, False), (60_000, True)):
        nearest = 100 * round(0.99813 * n) / n
        assert (f"{nearest:.3f}" == "99.813") == possible
    return "98.0 %"


@pytest.mark.parametrize("key", FACTS, ids=lambda key: f"{key[0]}.{key[1]}")
def test_the_right_answer_is_what_happens(key):
    chapter, number = key
    question = QUIZZES[chapter][number - 1]
    right = question.answers[place_of_right(question)].text
    assert right.startswith(FACTS[key]())


@every_question
def test_code_in_a_question_is_python(question):
    if not question.code.startswith("-1"):  # a kernel, drawn as a table
        ast.parse(question.code)


# How they are shown ---------------------------------------------------------------


class Outline(HTMLParser):
    """Counts the elements, and sees that each that opens closes in its place."""

    def __init__(self, html):
        super().__init__()
        self.open, self.found, self.text = [], [], ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.found)


@pytest.mark.parametrize("chapter", QUIZZES)
def test_html_is_whole_and_needs_no_script(chapter):
    outline = Outline(quiz(chapter)._repr_html_())
    questions = QUIZZES[chapter]
    assert outline.count("fieldset") == outline.count("legend") == 5
    assert outline.count("details") == sum(len(q.answers) for q in questions)
    assert outline.count("summary") == outline.count("p") == outline.count("details")
    assert not outline.count("script")
    assert not outline.count("style")
    for _, attributes in outline.found:
        assert not {"id", "name", "open", "onclick"} & set(attributes)
    shown = " ".join(outline.text.split())
    for question in questions:
        for text in texts_of(question):
            assert Outline(_quiz._inline(text)).text in shown


def test_everything_but_code_and_emphasis_is_escaped():
    assert _quiz._inline("a < b & `x[x > 0]` is *not* **") == (
        "a &lt; b &amp; <code>x[x &gt; 0]</code> is <em>not</em> **"
    )
    assert _quiz._inline("`2 * a * b`") == "<code>2 * a * b</code>"
    bad = Answer("<b>", 'Right. <script>alert("x")</script>', right=True)
    html = _quiz._question_html(1, Question("<i>?", [bad], code="if a < b:"))
    assert "<pre" in html
    assert "a &lt; b" in html
    for tag in ("<b>", "<i>", "<script>"):
        assert tag not in html
    Outline(html)


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
        ValueError, match=r"there is no quiz .* There are: 01, 02, .*11"
    ):
        quiz(name)


# In a classroom -------------------------------------------------------------------


def quiz_cells(notebook):
    return [c for c in notebook["cells"] if "import quiz" in "".join(c["source"])]


@every_chapter
def test_editions_keep_the_quiz_and_do_not_grade_it(path):
    notebook, chapter = json.loads(path.read_text("utf-8")), read_chapter(path)
    for make in (student_notebook, instructor_notebook):
        (cell,) = quiz_cells(make(notebook, chapter))
        assert "nbgrader" not in cell["metadata"]
    for exercise in chapter.exercises:
        for cell in (*exercise.stubs, *exercise.checks, *exercise.solutions):
            assert "quiz" not in cell["source"]


def test_a_quiz_is_no_answer():
    path = next(path for path in CHAPTERS if path.stem.startswith("01"))
    notebook, chapter = json.loads(path.read_text("utf-8")), read_chapter(path)
    handed_in = student_notebook(notebook, chapter)
    assert quiz_cells(handed_in)
    as_it_is = answers(cells_of(json.dumps(handed_in).encode()), chapter)
    assert "quiz" not in json.dumps(as_it_is)
