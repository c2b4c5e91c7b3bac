"""What a quiz is made of.

In texts, `code` stands in backticks and *emphasis* between asterisks. Nothing
else is markup.
"""

from dataclasses import dataclass


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
    right : bool
        Whether it is the right one.
    """

    text: str
    feedback: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question and its answers, one of them right.

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
