"""Editions for students and instructors, and grading what students hand in.

``python -m helpers.classroom --help`` lists the commands. Everything is made
from the chapters' notebooks in ``book/``: there is no second copy to keep.
"""
