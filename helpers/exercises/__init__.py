"""The book's exercises: is my answer right, a hint, the solution; and its quizzes.

>>> from helpers.exercises import check, hint, solution
>>> check("01.1", None).status
'empty'

An exercise is named by its chapter and its number. What is checked is what an
answer does: functions and networks are tried on fresh random input, values are
compared with what must hold of them. What judges the answers to a chapter's
exercises is a module of its own. The solutions are in the chapters, and nowhere
else: cells that begin with ``%%solution``.

A quiz needs no code: its questions are in the folder ``quizzes``.
"""

from helpers.exercises._hints import hint
from helpers.exercises._quiz import Quiz, quiz
from helpers.exercises._registry import find, names
from helpers.exercises._result import Result
from helpers.exercises._run import judge
from helpers.exercises._solution_cells import register
from helpers.exercises._solutions import Solution, solution

__all__ = [
    "Quiz",
    "Result",
    "Solution",
    "check",
    "find",
    "hint",
    "names",
    "quiz",
    "solution",
]

register()


def check(exercise: str, attempt: object) -> Result:
    """Say whether an answer is right and, if it is not, what is wrong with it.

    Whatever the answer does, `check` returns: an answer that raises an error is
    wrong, and the message tells the error. (One that never ends keeps `check`
    waiting.) Random numbers drawn afterwards, a network's mode, weights and
    gradients are as if nothing had been checked.

    Parameters
    ----------
    exercise : str
        Chapter and number, such as "01.1".
    attempt : object
        What the exercise asks for: a number, a tensor, a function, a network.

    Returns
    -------
    Result
        Shown by a notebook as a short message.

    Raises
    ------
    ValueError
        If there is no such exercise; the message says which there are.
    """
    return judge(find(exercise), attempt)
