"""The list of exercises, and the decorator that adds one to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Returns a remark on a right answer, or nothing; raises Wrong or Empty.
Judge = Callable[[object], str | None]


class Wrong(Exception):
    """An answer is wrong; the message says what is, `points` how much is right."""

    def __init__(self, message: str, points: float = 0.0) -> None:
        super().__init__(message)
        self.points = points


class Empty(Exception):
    """There is no answer yet."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name, what judges an answer to it, its hints."""

    name: str
    judge: Judge
    hints: tuple[str, ...]


EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, hints: Sequence[str]) -> Callable[[Judge], Judge]:
    """Make a function the judge of an exercise."""

    def add(judge: Judge) -> Judge:
        EXERCISES[name] = Exercise(name, judge, tuple(hints))
        return judge

    return add


def find(name: str) -> Exercise:
    """Return an exercise.

    Raises
    ------
    ValueError
        If there is none of this name; the message lists those that there are.
    """
    if isinstance(name, str) and name in EXERCISES:
        return EXERCISES[name]
    raise ValueError(
        f"there is no exercise {name!r}. There are: {', '.join(sorted(EXERCISES))}"
    )
