"""Hints, one at a time."""

from helpers.exercises._language import is_chinese, say
from helpers.exercises._registry import find
from helpers.exercises._result import Shown, as_html

_given: dict[str, int] = {}  # how many hints the reader has seen


class Hint(Shown):
    """The text of a hint. A notebook shows what stands in backticks as code."""

    def _repr_html_(self) -> str:
        return f'<p style="max-width: 41rem">{as_html(self)}</p>'


def hint(exercise: str, number: int | None = None) -> Hint:
    """Return a hint: the first, and with each further call the next.

    Parameters
    ----------
    exercise : str
        Chapter and number, such as "01.1".
    number : int, optional
        Which hint, counted from 1.

    Raises
    ------
    ValueError
        If there is no such exercise, or no hint of that number.
    """
    hints = find(exercise).hints
    if number is None:
        number = _given.get(exercise, 0) + 1
        if number > len(hints):
            return Hint(
                f'{exercise} 没有更多提示了。`solution("{exercise}")` 会给出解答，'
                "或者告诉你解答在谁那里。"
                if is_chinese()
                else f"There are no more hints for {exercise}. "
                f'`solution("{exercise}")` shows a solution, or says who has it.'
            )
        _given[exercise] = number
    elif number not in range(1, len(hints) + 1):
        raise ValueError(
            f"exercise {exercise} has hints 1 to {len(hints)}, but no hint {number!r}"
        )
    text = say(exercise.partition(".")[0], hints[number - 1])
    if is_chinese():
        return Hint(f"提示 {number}（共 {len(hints)} 条）：{text}")
    return Hint(f"Hint {number} of {len(hints)}: {text}")
