"""Trying many answers to one chapter's exercises.

A module of tests lists, for each exercise, right answers, wrong ones with a
telling part of the message that they must get, and empty ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from helpers.exercises import check, names


@dataclass
class Later:
    """An answer that is made when its test runs."""

    make: Callable[[], object]


def made(answer):
    """Return an answer, making it if it waits for that."""
    return answer.make() if isinstance(answer, Later) else answer


def of_chapter(chapter, right, wrong, empty):
    """Return the three tests of a chapter's answers, and one of their number."""
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

    @pytest.mark.parametrize(("name", "answer"), listed(empty))
    def test_empty(name, answer):
        assert check(name, answer).status == "empty"
        assert check(name, None).status == "empty"

    def test_every_exercise_is_tried():
        assert len(exercises) >= 4
        for name in exercises:
            assert len(right[name]) >= 2, name
            assert len(wrong[name]) >= 3, name
            assert len(empty[name]) >= 1, name

    return test_right, test_wrong, test_empty, test_every_exercise_is_tried
