"""What `check` returns, and how a notebook shows it."""

import html
import os
import re
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["right", "wrong", "empty"]

MIME_TYPE = "application/vnd.pytorch-by-hand.check+json"

# A sign, a word, and the color of the line beside them. The colors are of
# middle brightness, to be seen on white and on black; text has the page's own.
LOOK = {
    "right": ("✓", "Right", "#2f9e44"),
    "wrong": ("✗", "Not yet", "#d9480f"),
    "empty": ("○", "Empty", "#868e96"),
}


def as_html(text: str) -> str:
    """Return a text as HTML: what stands in backticks is code, the rest as it is."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def is_graded() -> bool:
    """Tell whether nbgrader is running this notebook."""
    return os.environ.get("NBGRADER_EXECUTION") == "autograde"


class Shown(str):
    """A text that a notebook shows as it is, without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Result:
    """What was found out about an answer.

    Parameters
    ----------
    exercise : str
        Chapter and number, such as "01.1".
    status : {"right", "wrong", "empty"}
        "empty" if there is no answer yet.
    message : str
        What is wrong, or a remark on a right answer.
    points : float
        From 0 to 1; a part of a point for an answer that is right in part.
    """

    exercise: str
    status: Status
    message: str
    points: float = 0.0

    def __str__(self) -> str:
        sign, word, _ = LOOK[self.status]
        return f"{sign} {self.exercise} {word}. {self.message}".rstrip()

    def _repr_html_(self) -> str:
        sign, word, color = LOOK[self.status]
        message = as_html(self.message).replace("\n", "<br>")
        return (
            f'<div style="border-left: 3px solid {color}; padding: .2em .9em; '
            f'margin: .4em 0; max-width: 41rem; overflow-wrap: anywhere">'
            f'<strong><span aria-hidden="true">{sign}</span> '
            f"{self.exercise} {word}.</strong> {message}</div>"
        )

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        return {  # nbgrader takes a cell's points from its value as text
            "text/plain": str(self.points) if is_graded() else str(self),
            "text/html": self._repr_html_(),
            MIME_TYPE: asdict(self),
        }
