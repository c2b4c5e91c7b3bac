"""The commands of ``python -m helpers.classroom``."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from helpers.classroom._chapters import BOOK, ClassroomError
from helpers.classroom._editions import write_edition

PROGRAM = "python -m helpers.classroom"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit status.

    Returns
    -------
    int
        0 if all went well, 1 if something could not be done, 130 when stopped
        by Ctrl-C or SIGTERM. Wrong options leave through `SystemExit` with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may not end the program
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        if options.command == "grade":
            return _grade(options)
        path = write_edition(options.command, options.out, options.book, options.force)
        print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).")
        return 0
    except ClassroomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _grade(options: argparse.Namespace) -> int:
    try:
        import nbgrader  # noqa: F401
        import psutil  # noqa: F401

        from helpers.classroom._course import Limits
        from helpers.classroom._grade import grade
    except ImportError as error:
        raise ClassroomError(
            f'grading needs {error.name}: python -m pip install -e ".[teach]"'
        ) from error
    folder = options.folder.absolute()
    out = options.out or folder.with_name(folder.name + "-grading")
    limits = Limits(options.timeout, options.memory, options.jobs)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        grade(folder, out.absolute(), options.book, limits, options.chapter)
    except KeyboardInterrupt:
        print(f"Stopped. What was graded is in {out}; the same command goes on.")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"The tables and the feedback are in {out}.")
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Make editions of the book for a class; grade what it hands in.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    editions = {
        "student": "write a zip of the notebooks without solutions",
        "instructor": "write a zip of the notebooks with solutions and notes",
    }
    for name, text in editions.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("out", type=Path, metavar="OUT", help="the zip file")
        command.add_argument("--force", action="store_true", help="replace OUT")
        _add_book(command)
    text = "grade what was handed in, with nbgrader"
    command = commands.add_parser("grade", help=text, description=text)
    add = command.add_argument
    text = "what was handed in: a folder, a zip or a file for each student"
    add("folder", type=Path, metavar="FOLDER", help=text)
    text = "where the course and the tables go (FOLDER-grading)"
    add("--out", type=Path, metavar="FOLDER", help=text)
    text = "the chapter that was asked for, such as 01; others are not graded"
    add("--chapter", default="", metavar="NN", help=text)
    text = "the longest that a cell of an answer may take (60 seconds)"
    add("--timeout", type=_whole, default=60, metavar="SECONDS", help=text)
    text = "the most memory that a notebook may take, on Linux (4096 MB)"
    add("--memory", type=_whole, default=4096, metavar="MB", help=text)
    jobs = max(1, (os.cpu_count() or 1) // 2)
    text = f"how many notebooks are run at a time ({jobs})"
    add("--jobs", type=_whole, default=jobs, metavar="N", help=text)
    _add_book(command)
    return parser


def _add_book(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--book",
        type=Path,
        default=BOOK,
        metavar="FOLDER",
        help="the folder of the chapters (book)",
    )


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
