"""A chapter's quiz: answers that open, and say why they are right or not.

The output is plain HTML without a script: each answer is a `details` element, so
it works on the site and in a notebook, with a keyboard, with a screen reader, and
on a page that was saved years ago. Lines and grounds take the site's colors; where
there are none, as in a notebook, middle grays do on white and on black.
"""

import html
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from helpers.exercises._language import say
from helpers.exercises._result import LOOK, as_html

QUIZZES = Path(__file__).parent / "quizzes"  # a file for each chapter

LINE = "var(--line, #868e9680)"
GROUND = "var(--raised, #868e961f)"
BOX = "border: 0; padding: 0; margin: 1.6em 0; min-width: 0; max-width: 41rem"
LEGEND = "padding: 0; margin-bottom: .5em; font-size: inherit"
CODE = f"background: {GROUND}; padding: .6em .9em; margin: .6em 0; overflow-x: auto"
ANSWER = f"border: 1px solid {LINE}; border-radius: 6px; margin: .4em 0"
CHOICE = "cursor: pointer; padding: .5em .9em .5em 2em; text-indent: -1.2em"
FEEDBACK = "padding: 0 .9em; margin: .2em .9em .9em"


@dataclass(frozen=True)
class Answer:
    """One answer that a reader may choose.

    Parameters
    ----------
    text : str
        The answer.
    feedback : str
        Why it is right or not. It begins with "Right.", "No." or "Not quite.",
        because a color alone says nothing to many readers.
    """

    text: str
    feedback: str

    @property
    def right(self) -> bool:
        """Whether it is the right one."""
        return self.feedback.startswith(("Right.", "对。"))


@dataclass(frozen=True)
class Question:
    """A question and its answers, one of them right.

    In texts, `code` stands in backticks and *emphasis* between asterisks. Nothing
    else is markup.

    Parameters
    ----------
    text : str
        The question.
    answers : list of Answer
        In the order in which they are shown.
    code : str
        Lines of Python that the question is about.
    """

    text: str
    answers: list[Answer]
    code: str = ""


@dataclass(frozen=True, repr=False)
class Quiz:
    """The questions of one chapter, shown by a notebook with answers that open.

    Parameters
    ----------
    chapter : str
        Two digits, such as "05".
    questions : list of Question
        In order.
    """

    chapter: str
    questions: list[Question]

    def __repr__(self) -> str:
        asked, told = [], []
        for number, question in enumerate(self.questions, start=1):
            asked += ["", f"{number}. {question.text}"]
            asked += [f"       {line}" for line in question.code.splitlines()]
            for letter, answer in zip("abcd", question.answers, strict=False):
                asked.append(f"   {letter}) {answer.text}")
                told.append(f"{number}{letter}) {answer.feedback}")
        return "\n".join([f"Quiz {self.chapter}", *asked, "", "Answers", *told])

    def _repr_html_(self) -> str:
        parts = (
            _question_html(number, question)
            for number, question in enumerate(self.questions, start=1)
        )
        return f'<div class="quiz">\n{"".join(parts)}</div>'


def quiz(chapter: str) -> Quiz:
    """Return a chapter's quiz: five questions, and what to think of each answer.

    Parameters
    ----------
    chapter : str
        Two digits, such as "05".

    Returns
    -------
    Quiz
        Shown by a notebook as questions with answers that open.

    Raises
    ------
    ValueError
        If there is no such quiz; the message lists those that there are.
    """
    there = sorted(path.stem for path in QUIZZES.glob("*.toml"))
    if chapter not in there:
        raise ValueError(
            f"there is no quiz {chapter!r}. There are, as text: {', '.join(there)}"
        )
    file = QUIZZES / f"{chapter}.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))["question"]
    return Quiz(chapter, [_question(chapter, **table) for table in tables])


def _question(
    chapter: str, text: str, answer: list[dict[str, str]], code: str = ""
) -> Question:
    """Return a question from a table of the file, in the reader's language."""
    answers = [
        Answer(say(chapter, a["text"]), say(chapter, a["feedback"])) for a in answer
    ]
    return Question(say(chapter, text), answers, code.rstrip("\n"))


def _question_html(number: int, question: Question) -> str:
    code = html.escape(question.code, quote=False)
    code = f'<pre style="{CODE}">{code}</pre>\n' if code else ""
    answers = "".join(map(_answer_html, question.answers))
    return (
        f'<fieldset style="{BOX}"><legend style="{LEGEND}">'
        f"{number}. {_inline(question.text)}</legend>\n{code}{answers}</fieldset>\n"
    )


def _answer_html(answer: Answer) -> str:
    sign, _, color = LOOK["right" if answer.right else "wrong"]
    verdict, stop, why = re.split(r"(?<=[.。])|(?=[.。])", answer.feedback, maxsplit=2)
    return (
        f'<details style="{ANSWER}">'
        f'<summary style="{CHOICE}">{_inline(answer.text)}</summary>\n'
        f'<p style="{FEEDBACK}; border-left: 3px solid {color}">'
        f'<strong><span aria-hidden="true">{sign}</span> {verdict}{stop}</strong>'
        f"{_inline(why)}</p></details>\n"
    )


def _inline(text: str) -> str:
    """Return a text as HTML: `code`, *emphasis*, and everything else as it is."""
    parts = re.split(r"(<code>.*?</code>)", as_html(text))
    parts[::2] = [re.sub(r"\*([^*]+)\*", r"<em>\1</em>", part) for part in parts[::2]]
    return "".join(parts)  # in code, an asterisk is a product
