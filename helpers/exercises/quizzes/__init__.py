"""The questions of the quizzes, a module a chapter.

What is asked is what the chapter taught: to predict, to explain, to find the
mistake, to choose the number to trust. A wrong answer is one that a careful
reader might give, and its feedback says why, and what is true.
"""

from helpers.exercises.quizzes import (
    chapter01,
    chapter02,
    chapter03,
    chapter04,
    chapter05,
    chapter06,
    chapter07,
    chapter08,
    chapter09,
    chapter10,
    chapter11,
    chapter12,
    chapter13,
)
from helpers.exercises.quizzes._question import Answer, Question

__all__ = ["QUIZZES", "Answer", "Question"]

QUIZZES: dict[str, list[Question]] = {
    "01": chapter01.QUESTIONS,
    "02": chapter02.QUESTIONS,
    "03": chapter03.QUESTIONS,
    "04": chapter04.QUESTIONS,
    "05": chapter05.QUESTIONS,
    "06": chapter06.QUESTIONS,
    "07": chapter07.QUESTIONS,
    "08": chapter08.QUESTIONS,
    "09": chapter09.QUESTIONS,
    "10": chapter10.QUESTIONS,
    "11": chapter11.QUESTIONS,
    "12": chapter12.QUESTIONS,
    "13": chapter13.QUESTIONS,
}
