"""Trying many answers to one chapter's exercises.

A module of tests lists, for each exercise, right answers, and wrong ones with a
telling part of the message that they must get. That stubs are empty answers is
tested in test_exercises.py.
"""

import ast
import inspect
import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest
from book_files import CHAPTERS, read_cells

from helpers.exercises import check, names


@dataclass
class Later:
    """An answer that is made when its test runs."""

    make: Callable[[], object]


def made(answer):
    """Return an answer, making it if it waits for that."""
    return answer.make() if isinstance(answer, Later) else answer


def of_book(exercise, name, **given):
    """Return a function or class that the book's solution of an exercise defines.

    It sees the chapter's imports that it uses, and the names that are handed over.
    """
    (path,) = (path for path in CHAPTERS if path.name.startswith(exercise[:2]))
    place = f"<{exercise}, {name}>"  # where `inspect` looks for the source
    imports = []
    for cell in read_cells(path, "code"):
        source = cell["source"].removeprefix(f"%%solution {exercise}\n")
        for node in () if source.startswith("%%") else ast.parse(source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports.append(node)
            elif getattr(node, "name", "") == name:  # the stub, and then the solution
                answer, lines = node, source.splitlines(keepends=True)
    uses = {part.id for part in ast.walk(answer) if isinstance(part, ast.Name)}
    imports = [i for i in imports if uses & {a.asname or a.name for a in i.names}]
    module = sys.modules[place] = ModuleType(place)
    vars(module).update(given | {"__name__": place, "__file__": place})
    linecache.cache[place] = 0, None, lines, place
    exec(compile(ast.Module([*imports, answer], []), place, "exec"), vars(module))
    return getattr(module, name)


def changed(answer, edits):
    """Return a function or class like another one, after edits of its source.

    The edits are a dictionary: a text that the source has once, and what stands
    there then.
    """
    source = inspect.getsource(answer)
    for old, new in edits.items():
        assert source.count(old) == 1, f"{old!r} is not there once:\n{source}"
        source = source.replace(old, new)
    namespace = dict(vars(sys.modules[answer.__module__]))
    exec(source, namespace)
    return namespace[answer.__name__]


def of_chapter(chapter, right, wrong):
    """Return the two tests of a chapter's answers, and one of their number."""
    exercises = names(chapter)

    def listed(cases):
        return [
            pytest.param(name, answer, id=f"{name}-{i}")
            for name, answers in cases.items()
            for i, answer in enumerate(answers)
        ]

    @pytest.mark.parametrize(("name", "answer"), listed(right))
    def test_right(name, answer):
        result = check(name, made(answer))
        assert result.status == "right", result.message

    @pytest.mark.parametrize(("name", "answer"), listed(wrong))
    def test_wrong(name, answer):
        attempt, telling = answer
        result = check(name, made(attempt))
        assert result.status == "wrong", result
        assert telling in result.message
        assert "Looking at your answer" not in result.message

    def test_every_exercise_is_tried():
        assert len(exercises) >= 4
        for name in exercises:
            assert len(right[name]) >= 2, name
            assert len(wrong[name]) >= 3, name

    return test_right, test_wrong, test_every_exercise_is_tried
