"""The reader's language: English, or Chinese where a text has been translated."""

import locale
import os
from functools import cache
from pathlib import Path

import polib

TRANSLATED = Path(__file__).parent / "zh_CN"  # a file for each chapter


def is_chinese() -> bool:
    """Tell whether the reader's language is Chinese.

    The environment variable ``PYTORCH_BY_HAND_LANGUAGE`` says so, as "zh", or else
    the system's language.
    """
    chosen = os.environ.get("PYTORCH_BY_HAND_LANGUAGE") or locale.getlocale()[0] or ""
    return chosen.lower().startswith(("zh", "chinese"))


def say(chapter: str, text: str) -> str:
    """Return a text of a chapter's exercises in the reader's language, in one line."""
    text = " ".join(text.split())
    return _chinese(chapter).get(text, text) if is_chinese() else text


@cache
def _chinese(chapter: str) -> dict[str, str]:
    """Return what a chapter's exercises say in Chinese by the English."""
    path = TRANSLATED / f"{chapter}.po"
    entries = polib.pofile(str(path)).translated_entries() if path.is_file() else []
    return {entry.msgid: entry.msgstr for entry in entries}
