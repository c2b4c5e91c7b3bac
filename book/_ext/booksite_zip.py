"""Pack the built site into one file, to be read with no network.

    python book/_ext/booksite_zip.py

writes ``_build/pytorch-by-hand.zip``. Unpacked anywhere, its ``index.html`` opens
the book. The same site gives the same file, byte for byte.
"""

import argparse
import zipfile
from pathlib import Path

NAME = "pytorch-by-hand"
# What a build leaves for its own next run, and what only a server can use.
LEFT_OUT = {".buildinfo", "objects.inv", ".nojekyll"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def pack(site: Path, target: Path) -> int:
    """Write a zip of a built site; return how many files are in it.

    Parameters
    ----------
    site : Path
        The folder with ``index.html``.
    target : Path
        The zip, overwritten if it is there.

    Raises
    ------
    FileNotFoundError
        If the site is not built.
    """
    if not site.joinpath("index.html").is_file():
        raise FileNotFoundError(f"no site in {site}: run jupyter-book build . first")
    files = sorted(
        path
        for path in site.rglob("*")
        if path.is_file() and path.name not in LEFT_OUT and path.suffix != ".pyc"
    )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            entry = zipfile.ZipInfo(
                f"{NAME}/{path.relative_to(site).as_posix()}", EPOCH
            )
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return len(files)


def site_parser(description: str, name: str) -> argparse.ArgumentParser:
    """Return the parser of a program that turns a built site into one file."""
    build = Path(__file__).parents[2] / "_build"
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=build / "html")
    parser.add_argument("--to", type=Path, default=build / name)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Pack the site of this checkout, or the one that is named."""
    parser = site_parser(__doc__, f"{NAME}.zip")
    chosen = parser.parse_args(arguments)
    try:
        number = pack(chosen.site, chosen.to)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    print(f"{chosen.to}: {number} files, {chosen.to.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
