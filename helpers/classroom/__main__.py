"""The commands of ``python -m helpers.classroom``."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from helpers.classroom._chapters import BOOK, ClassroomError
from helpers.classroom._editions import write_edition

PROGRAM = "python -m helpers.classroom"


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit status.

    Returns
    -------
    int
        0 if all went well, 1 if something could not be done, 130 when stopped
        by Ctrl-C or SIGTERM. Wrong options leave through `SystemExit` with 2.
    """
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
        from helpers.classroom._grading import Limits, grade
    except ImportError as error:
        raise ClassroomError(
            f"grading needs {error.name}: python -m pip install -r requirements.txt"
        ) from error
    folder = options.folder.absolute()
    out = options.out or folder.with_name(folder.name + "-grades.csv")
    limits = Limits(options.timeout, options.memory, options.jobs)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return grade(folder, out, options.book, limits, options.chapter)
    except KeyboardInterrupt:
        print(f"Stopped. The results so far are in {out}; run it again to go on.")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
    text = "run the checks over a folder of handed-in notebooks"
    command = commands.add_parser("grade", help=text, description=text)
    add = command.add_argument
    add("folder", type=Path, metavar="FOLDER", help="a folder or a file a student")
    add("--out", type=Path, metavar="CSV", help="the table (FOLDER-grades.csv)")
    add("--chapter", default="", metavar="NN", help="what was asked for, such as 01")
    add("--timeout", type=_whole, default=60, metavar="S", help="s an exercise (60)")
    add("--memory", type=_whole, default=4096, metavar="MB", help="a notebook (4096)")
    jobs = max(1, (os.cpu_count() or 1) // 2)
    add("--jobs", type=_whole, default=jobs, metavar="N", help=f"at a time ({jobs})")
    _add_book(command)
    return parser


def _add_book(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--book", type=Path, default=BOOK, metavar="FOLDER", help="of the notebooks"
    )


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
