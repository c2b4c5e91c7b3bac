"""The commands of ``python -m helpers.classroom``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.classroom._chapters import BOOK, ClassroomError
from helpers.classroom._course import Limits
from helpers.classroom._editions import write_edition
from helpers.classroom._grade import grade
from helpers.files import print_anything


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit status.

    Returns
    -------
    int
        0 if all went well, 1 if something could not be done, 130 when stopped
        by Ctrl-C. Wrong options leave through `SystemExit` with 2.
    """
    print_anything()
    options = _parser().parse_args(arguments)
    try:
        if options.command == "grade":
            limits = Limits(options.timeout, options.memory, options.jobs)
            out = grade(options.folder, options.book, limits, options.chapter)
            print(f"The tables and the feedback are in {out}.")
        else:
            book, force = options.book, options.force
            out = write_edition(options.command, options.out, book, force)
            print(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB).")
    except ClassroomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was graded is kept; the same command goes on.")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "Make editions of the book for a class; grade what it hands in."
    parser = argparse.ArgumentParser("python -m helpers.classroom", description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("student", "write a zip of the notebooks without solutions"),
        ("instructor", "write a zip of the notebooks with solutions and hints"),
        ("grade", "grade what was handed in, with nbgrader"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        text = "the folder of the chapters (book)"
        command.add_argument("--book", type=Path, default=BOOK, help=text)
        if name != "grade":
            command.add_argument("out", metavar="OUT", type=Path, help="the zip")
            command.add_argument("--force", action="store_true", help="replace OUT")
    add = command.add_argument
    text = "what was handed in: a folder, a zip or a file for each student"
    add("folder", metavar="FOLDER", type=Path, help=text)
    text = "the chapter that was asked for, such as 01; others are not graded"
    add("--chapter", default="", help=text)
    text = "seconds that a cell of an answer may run (%(default)s)"
    add("--timeout", type=_whole, default=60, help=text)
    text = "MB of memory that a notebook may take, on Linux (%(default)s)"
    add("--memory", type=_whole, default=4096, help=text)
    text = "how many notebooks are run at a time (%(default)s)"
    jobs = max(1, (os.cpu_count() or 1) // 2)
    add("--jobs", type=_whole, default=jobs, help=text)
    return parser


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
