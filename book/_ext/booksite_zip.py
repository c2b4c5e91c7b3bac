"""Pack the built site into one file, to be read with no network.

    python book/_ext/booksite_zip.py

writes ``_build/pytorch-by-hand.zip``. Unpacked anywhere, its ``index.html`` opens
the book. The same site gives the same file, byte for byte.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from helpers.files import print_anything, write_zip

NAME = "pytorch-by-hand"


def pack(site: Path, target: Path) -> str:
    """Write a zip of a built site; say how many files are in it."""
    files = sorted(f for f in site.rglob("*") if f.is_file() and f.name[0] != ".")
    names = (f"{NAME}/{path.relative_to(site).as_posix()}" for path in files)
    write_zip(target, zip(names, map(Path.read_bytes, files), strict=True))
    return f"{len(files)} files"


def turn(
    text: str, built: str, make: Callable[..., str], suffix: str, *options: tuple
) -> None:
    """Turn what was built into one file: the command line of such a program.

    Parameters
    ----------
    text : str
        The program's docstring.
    built : str
        The builder, whose folder in ``_build`` has an ``index.html``.
    make : callable
        Takes that folder, the file to write and the options; says what is in it.
    suffix : str
        How the file's name ends.
    options : tuple of (str, str)
        More options and their help.
    """
    print_anything()
    build = Path(__file__).parents[2] / "_build"
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=build / built)
    parser.add_argument("--to", type=Path, default=build / f"{NAME}{suffix}")
    for name, text in options:
        parser.add_argument(name, help=text)
    chosen = vars(parser.parse_args())
    site, target = chosen.pop("site").resolve(), chosen.pop("to").resolve()
    if not site.joinpath("index.html").is_file():
        parser.error(f"no site in {site}: run jupyter-book build . --builder {built}")
    if target.is_relative_to(site):
        parser.error(f"{target} lies in the site itself: choose another place")
    if target.is_dir():
        parser.error(f"{target} is a folder: name a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        what = make(site, target, **chosen)
    except (OSError, RuntimeError) as error:
        parser.error(str(error))
    print(f"{target}: {what}, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    turn(__doc__, "html", pack, ".zip")
