"""Finding an exercise: it stands in its chapter's module, imported when asked for."""

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def exercise(name: str, hints: Sequence[str]) -> Callable[[Judge], Exercise]:
    """Make a function the judge of an exercise."""
    return lambda judge: Exercise(name, judge, tuple(hints))


def chapters() -> list[str]:
    """Return the numbers of the chapters that have exercises: "01", "02", ..."""
    modules = Path(__file__).parent.glob("chapter*.py")
    return sorted(path.stem.removeprefix("chapter") for path in modules)


def of_chapter(chapter: str) -> dict[str, Exercise]:
    """Return one chapter's exercises by name; none if there is no such chapter."""
    if chapter not in chapters():
        return {}
    module = importlib.import_module(f"helpers.exercises.chapter{chapter}")
    there = (thing for thing in vars(module).values() if isinstance(thing, Exercise))
    return {found.name: found for found in there}


def names(chapter: str | None = None) -> list[str]:
    """Return the names of all exercises in order, or of one chapter's."""
    wanted = chapters() if chapter is None else [chapter]
    return [name for number in wanted for name in of_chapter(number)]


def find(name: str) -> Exercise:
    """Return an exercise.

    Raises
    ------
    ValueError
        If there is none of this name; the message says how names are written, or
        which ones the chapter has.
    """
    if isinstance(name, int | float):
        raise ValueError(f'write the exercise as text: "{name:04.1f}", not {name}')
    if not isinstance(name, str):
        raise ValueError(
            'the name of the exercise comes first, as text such as "01.1"; this is '
            f"of the type {type(name).__name__}"
        )
    there = of_chapter(name.partition(".")[0])
    if name in there:
        return there[name]
    shown = name if re.fullmatch(r"[\w.]{1,9}", name) else "of this name"
    if there:
        known = f"The chapter has {', '.join(there)}."
    else:
        known = f'They are written as "01.1"; the chapters are {_range(chapters())}.'
    raise ValueError(f"there is no exercise {shown}. {known}")


def _range(ordered: list[str]) -> str:
    return f"{ordered[0]} to {ordered[-1]}"
