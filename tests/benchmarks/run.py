"""Measure the figures that chapters 9 to 11 quote, side by side, on this machine.

``python tests/benchmarks/run.py`` measures all parts; name some to measure only
those. Each part has a file in helpers/records/, written after each run. A run that the
file holds is left alone: after a break, the same command goes on. ``--again``
measures once more.

digits       seconds and epochs until 99 % of the test digits are read
steps        from pytorch/examples' recipe to the book's, one change at a time
loading      an epoch, and the share of it spent waiting for data
compile      a training step, as it is and through torch.compile
growth       seconds and memory for an eighth, a quarter, a half and all digits
photographs  networks and recipes for CIFAR-10 (needs CIFAR-10)
residual     deeper networks with and without shortcuts (needs CIFAR-10)
gpu-…        what chapters 9 to 11 tell of a GPU: by gpu.py, which needs one

Chapter 13's records come from reproduce.py.
"""

import argparse
import sys

import depth
import digits
import photographs
import speed
import torch
from writing import Part, make_parser, measure_part, parse

from helpers import records

PARTS = {
    "digits": digits.WHOLE_RUNS,
    "residual": depth.DEPTHS,
    "photographs": photographs.PHOTOGRAPHS,
    "steps": digits.CHANGE_BY_CHANGE,
    "loading": speed.LOADING,
    "growth": speed.GROWTH,
    "compile": speed.COMPILE,
}


def read_options(
    text: str, parts: dict[str, Part], arguments: list[str] | None
) -> argparse.Namespace:
    """Return the options that this program shares with gpu.py."""
    parser = make_parser(text, "part", parts)
    parser.add_argument("--seeds", type=int, help="at most so many per recipe")
    parser.add_argument("--limit", type=int, help="examples of each set, to try it out")
    parser.add_argument("--threads", type=int, help="of PyTorch; else one per core")
    parser.add_argument("--again", action="store_true", help="measure once more")
    parser.add_argument("--note", default="", help="on the machine, for the record")
    options = parse(parser, arguments)
    if options.limit and options.out.resolve() == records.FOLDER.resolve():
        parser.error("--limit is for trying: name another folder with --out")
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    options = read_options(__doc__, PARTS, arguments)
    for name in options.names:
        measure_part(name, PARTS[name], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
