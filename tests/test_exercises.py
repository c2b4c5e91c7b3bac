"""check, hint and solution, whatever the exercise."""

import dataclasses
import json
import random
import re

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from helpers import exercises
from helpers.exercises import Result, check, find, hint, names, solution
from helpers.exercises._answers import describe, is_empty
from helpers.exercises._registry import Exercise, Wrong
from helpers.exercises._run import judge

MIME_TYPE = "application/vnd.pytorch-by-hand.check+json"
EVERY_EXERCISE = names()


class Hostile:
    """An answer that raises whatever is done with it."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")

    def __len__(self):
        raise RuntimeError

    __bool__ = __iter__ = __eq__ = __float__ = __repr__ = __len__
    __hash__ = object.__hash__


def leaves(*arguments):
    raise SystemExit("leaving")


def grumbles(*arguments):
    raise ValueError(Hostile())


class Surprise(nn.Module):
    def forward(self, *arguments):
        raise RuntimeError("surprise")


ODD_ANSWERS = [
    Hostile(),
    leaves,
    grumbles,
    Surprise(),
    Surprise,
    object,
    float("nan"),
    "text",
    b"bytes",
    1 + 2j,
    True,
    [[1], [2, 3]],
    [Hostile()],
    {"a": Hostile()},
    {1, 2},
    np.array([object()]),
    torch.zeros(3, dtype=torch.bool),
    torch.zeros(2, 2, device="meta"),
    lambda: 1,
    lambda *arguments: Hostile(),
    lambda *arguments: "text",
    lambda *arguments: torch.zeros(1, 1),
    lambda *arguments: [[1], [2, 3]],
]


@pytest.mark.parametrize("name", EVERY_EXERCISE)
def test_no_odd_answer_raises_or_passes(name):
    for answer in ODD_ANSWERS:
        result = check(name, answer)
        assert result.status in ("wrong", "empty"), describe(answer)
        assert result.message
        json.dumps(dataclasses.asdict(result))


@pytest.mark.parametrize("name", EVERY_EXERCISE)
def test_nothing_is_an_empty_answer(name):
    for answer in (None, ..., [], {}, "", (None, None), torch.zeros(0)):
        result = check(name, answer)
        assert result.status == "empty"
        assert f'hint("{name}")' in result.message


def test_an_error_of_the_answer_is_told():
    def forgets(images):
        return images.viev(84, 112)

    message = check("01.2", forgets).message
    assert "`my_sheet(images)` raises `AttributeError" in message
    assert "viev" in message
    assert "tried with images of the shape (12, 1, 28, 28)" in message


def test_interrupting_the_kernel_still_works():
    def waits(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("01.2", waits)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("01.9", "there is no exercise 01.9. The chapter has 01.1, 01.2, 01.3, 01.4"),
        ("1.1", 'there is no exercise 1.1. They are written as "01.1"'),
        ("", "the chapters are 01 to 1"),
        ("a text that was the answer, " * 9, "there is no exercise of this name"),
        (10.1, 'write the exercise as text: "10.1", not 10.1'),
        (1.1, 'write the exercise as text: "01.1"'),
        (12, 'write the exercise as text: "12.0", not 12'),
        (None, "the name of the exercise comes first"),
        (torch.zeros(100, 100), "this is of the type Tensor"),
    ],
    ids=lambda value: str(value)[:9],
)
def test_unknown_exercises(name, told):
    for function in (lambda n: check(n, "01.1"), hint, solution):
        with pytest.raises(ValueError, match=re.escape(told)) as error:
            function(name)
        assert len(str(error.value)) < 150, "a whole answer is not printed"


def test_what_a_notebook_gets():
    bundle = Result("01.1", "wrong", "a < b,\nnot `c`")._repr_mimebundle_()
    assert bundle["text/plain"] == "✗ 01.1 Not yet. a < b,\nnot `c`"
    assert "a &lt; b,<br>not <code>c</code>" in bundle["text/html"]
    assert bundle[MIME_TYPE] == {
        "exercise": "01.1",
        "status": "wrong",
        "message": "a < b,\nnot `c`",
        "points": 0.0,
    }
    output = nbformat.v4.new_output("display_data", data=bundle)
    cell = nbformat.v4.new_code_cell(outputs=[output])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))


def test_the_three_results_differ_in_words():
    texts = {str(Result("01.1", s, "")).split()[-1] for s in ("right", "wrong")}
    assert texts == {"Right.", "yet."}
    assert "Empty" in Result("01.1", "empty", "")._repr_html_()


def stub(images):
    """Only this."""
    ...


class Stub(nn.Module):
    """Only this."""

    def forward(self, images): ...


def unwritten(images):
    # Not yet.
    raise NotImplementedError("my_sheet")


@torch.no_grad()
def decorated(images):
    return None


STUBS = [
    stub,
    Stub,
    unwritten,
    decorated,
    dict.fromkeys("ab"),
    (None, None),
    ({}, stub),
]


@pytest.mark.parametrize("answer", STUBS)
def test_stubs_are_empty(answer):
    assert is_empty(answer)


def forgets_to_return(images):
    images.mean()


def refuses(images):
    raise ValueError(images)


class Measuring:
    """What it does was not written in Python."""

    measure = staticmethod(len)


ANSWERS = [0, 0.0, False, [0], leaves, lambda x: x, lambda: 0.5, nn.Linear, "0"]
ANSWERS += [forgets_to_return, refuses]


@pytest.mark.parametrize("answer", [*ANSWERS, Measuring])
def test_answers_are_not_empty(answer):
    assert not is_empty(answer)


# Nothing is disturbed -----------------------------------------------------------


def random_numbers():
    return torch.rand(3).tolist(), np.random.rand(), random.random()  # noqa: NPY002


def test_each_check_draws_other_numbers():
    drawn = []
    exercise = Exercise("00.0", lambda attempt: drawn.append(random_numbers()), ())
    for _ in range(2):
        judge(exercise, "an answer")
    for first, second in zip(*drawn, strict=True):
        assert first != second


def test_random_numbers_go_on_as_before():
    def restless(*arguments):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return 1

    state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    expected = random_numbers()
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    random.setstate(state[2])
    check("01.2", restless)
    assert random_numbers() == expected
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 10)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, images):
        return self.norm(self.fc(images))


def uses(attempt):
    """Do all that must be undone."""
    network = attempt if isinstance(attempt, nn.Module) else NETWORK
    network.train()
    network(torch.randn(8, 4)).sum().backward()
    network.eval()
    with torch.no_grad():
        network.fc.weight.zero_()
    raise Wrong("used")


NETWORK = Normed()


def by_global(x):
    return NETWORK(x)


def by_closure():
    network = NETWORK
    return lambda x: network(x)


@pytest.mark.parametrize(
    "attempt", [NETWORK, [NETWORK], {"a": NETWORK}, by_global, by_closure()]
)
def test_networks_stay_as_they_are(attempt):
    NETWORK.train()
    NETWORK.norm.eval()
    NETWORK.fc.weight.grad = torch.ones_like(NETWORK.fc.weight)
    NETWORK.fc.bias.grad = None
    before = {k: v.clone() for k, v in NETWORK.state_dict().items()}
    assert judge(Exercise("00.0", uses, ()), attempt).message == "used"
    assert NETWORK.training
    assert not NETWORK.norm.training
    assert NETWORK.fc.weight.grad.eq(1).all()
    assert NETWORK.fc.bias.grad is None
    for key, value in NETWORK.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_what_an_answer_prints_is_not_shown(capsys):
    check("01.2", lambda images: print("noise"))
    assert capsys.readouterr().out == ""


# Hints and solutions ------------------------------------------------------------


def test_hints_come_one_at_a_time(monkeypatch):
    monkeypatch.setattr(exercises._hints, "_given", {})
    hints = find("01.1").hints
    for number, text in enumerate(hints, start=1):
        assert hint("01.1") == f"Hint {number} of {len(hints)}: {text}"
    for _ in range(2):
        assert "no more hints" in hint("01.1")
    assert hints[1] in hint("01.1", 2)
    assert "Hint 1 of" in hint("01.2")


@pytest.mark.parametrize("name", EVERY_EXERCISE)
def test_hints_are_two_or_more_and_show_code_as_code(name):
    hints = find(name).hints
    assert len(set(hints)) == len(hints) >= 2
    for number, text in enumerate(hints, start=1):
        shown = hint(name, number)
        assert text in repr(shown)
        assert shown._repr_html_().count("<code>") == text.count("`") / 2
        assert "`" not in shown._repr_html_()


@pytest.mark.parametrize("number", [0, 9, -1, "first"])
def test_hints_that_are_not_there(number):
    with pytest.raises(ValueError, match="has hints 1 to"):
        hint("01.1", number)


@pytest.mark.parametrize("name", EVERY_EXERCISE)
def test_solutions_are_found_in_the_chapters(name):
    answer = solution(name)
    assert f'assert check("{name}", ' in answer
    assert "%%solution" not in answer
    assert "# Seen" not in answer
    assert repr(answer) == str(answer)
    assert answer._repr_markdown_().startswith("```python\n")
    compile(answer, name, "exec")


@pytest.mark.parametrize("there", [True, False])
def test_solutions_that_are_not_there(there, tmp_path, monkeypatch):
    if there:  # a classroom's edition
        cell = nbformat.v4.new_markdown_cell("### Exercise 1: Shapes")
        notebook = nbformat.v4.new_notebook(cells=[cell])
        nbformat.write(notebook, tmp_path / "01-tensors.ipynb")
    monkeypatch.setattr(exercises._solutions, "BOOK", tmp_path)
    answer = solution("01.1")
    assert "your teacher has it" in answer
    assert "```" not in answer._repr_markdown_()
