"""The front page: the map of what builds on what, and a thumbnail for each chapter.

Nothing here is drawn by hand. The map follows from what each chapter's metadata
says that it needs, and a thumbnail is a figure of the chapter without its writing.
"""

import re
from html import escape
from textwrap import wrap
from xml.etree import ElementTree

from sphinx.locale import get_translation

_ = get_translation("booksite")

# Sizes of the map in pixels: a chapter's box, and the gaps to the next one along
# the way and beside it. From left to right it has to fit the page's width.
BOX = {"across": (92, 54), "down": (104, 54)}
GAP = {"across": (12, 14), "down": (8, 30)}
LONG_TITLE = 13  # letters; longer ones take two lines

THUMBNAIL = (160, 120)
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


# What builds on what ------------------------------------------------------------


def direct_needs(needs: dict[int, set[int]]) -> dict[int, list[int]]:
    """Leave out of each chapter's needs what another of them needs already.

    Examples
    --------
    >>> direct_needs({1: set(), 2: {1}, 3: {1, 2}})
    {1: [], 2: [1], 3: [2]}
    """
    everything: dict[int, set[int]] = {}
    direct = {}
    for number in sorted(needs):
        wanted = {other for other in needs[number] if other in everything}
        below = set().union(*(everything[other] for other in wanted))
        everything[number] = wanted | below
        direct[number] = sorted(wanted - below)
    return direct


def layers(direct: dict[int, list[int]]) -> list[list[int]]:
    """Arrange the chapters so that each comes after all that it builds on.

    Within a layer they stand in the order of what they build on, so that few
    lines cross.
    """
    depth: dict[int, int] = {}
    place: dict[int, float] = {}
    rows: list[list[int]] = []
    for number in sorted(direct):
        depth[number] = 1 + max((depth[other] for other in direct[number]), default=-1)
        if depth[number] == len(rows):
            rows.append([])
        rows[depth[number]].append(number)
    for row in rows:
        row.sort(
            key=lambda number: (
                sum(place[other] for other in direct[number])
                / max(1, len(direct[number])),
                number,
            )
        )
        for index, number in enumerate(row):
            place[number] = index - (len(row) - 1) / 2
    return rows


def in_words(direct: dict[int, list[int]]) -> str:
    """Say what the map shows."""
    builders = [other for wanted in direct.values() for other in wanted]
    spine = 0  # the last chapter before the ways part
    while direct.get(spine + 1) == ([spine] if spine else []):
        spine += 1
        if builders.count(spine) != 1:
            break
    sentences = []
    if spine > 1:
        text = _("Chapters 1 to {} build on each other, in this order.")
        sentences.append(text.format(spine))
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, wanted in sorted(direct.items()):
        if number > spine:
            groups.setdefault(tuple(wanted), []).append(number)
    for wanted, numbers in groups.items():
        text = _("{} builds on {}.") if len(numbers) == 1 else _("{} build on {}.")
        text = text if wanted else _("{} can be read first.")
        subject = listing(numbers)
        subject = f"{subject[0].upper()}{subject[1:]}"
        sentences.append(text.format(subject, wanted and listing(wanted)))
    return _(" ").join(sentences)


def listing(numbers) -> str:
    """Return chapters as people list them: "chapters 8, 9 and 10"."""
    *first, last = map(str, numbers)
    text = _("chapters {} and {}") if first else _("chapter {1}")
    return text.format(_(", ").join(first), last)


# The map ------------------------------------------------------------------------


def draw_map(pages: dict[int, dict], direct: dict[int, list[int]], down: bool) -> str:
    """Return the map as SVG, from left to right or, for phones, from top to bottom.

    It is for the eyes: `in_words` says the same, and the table of chapters has
    the links for the keyboard. Colors come from book.css.

    Parameters
    ----------
    pages : dict
        Title and link of each chapter, by its number.
    direct : dict
        What each chapter builds on, from `direct_needs`.
    """
    way = "down" if down else "across"
    (width, height), (gap_x, gap_y) = BOX[way], GAP[way]
    rows = layers(direct)
    widest = max(map(len, rows))
    places = {}
    for depth, row in enumerate(rows):
        for index, number in enumerate(row):
            beside = index + (widest - len(row)) / 2
            x, y = (beside, depth) if down else (depth, beside)
            places[number] = x * (width + gap_x), y * (height + gap_y)
    parts = [
        _arrow(places[start], places[end], (width, height), down)
        for end, starts in direct.items()
        for start in starts
    ]
    parts += [_box(*places[n], width, height, n, pages[n]) for n in sorted(direct)]
    columns, lines = (widest, len(rows)) if down else (len(rows), widest)
    size = columns * (width + gap_x) - gap_x + 2, lines * (height + gap_y) - gap_y + 2
    return (
        f'<svg class="{way}" aria-hidden="true" viewBox="-1 -1 {size[0]} {size[1]}" '
        f'width="{size[0]}" height="{size[1]}">{"".join(parts)}</svg>'
    )


def _arrow(start, end, box, down: bool) -> str:
    """Draw a line from the far edge of one box to the near edge of another."""
    (x, y), (to_x, to_y), (width, height) = start, end, box
    if down:
        x, y, to_x = x + width / 2, y + height, to_x + width / 2
        middle = (y + to_y) / 2
        curve = f"{x:g},{middle:g} {to_x:g},{middle:g}"
        wings = "m-3.5,-5l3.5,5l3.5,-5"
    else:
        x, y, to_y = x + width, y + height / 2, to_y + height / 2
        middle = (x + to_x) / 2
        curve = f"{middle:g},{y:g} {middle:g},{to_y:g}"
        wings = "m-5,-3.5l5,3.5l-5,3.5"
    return f'<path d="M{x:g},{y:g}C{curve} {to_x:g},{to_y:g}{wings}"/>'


def _box(x, y, width, height, number: int, page: dict) -> str:
    """Draw a chapter's box, which leads to the chapter."""
    lines, heights = [page["title"]], [40]
    if len(page["title"]) > LONG_TITLE:
        lines, heights = wrap(page["title"], len(page["title"]) // 2 + 3), [32, 46]
    middle = x + width / 2
    words = "".join(
        f'<text x="{middle:g}" y="{y + below:g}">{escape(line)}</text>'
        for line, below in zip(lines, heights, strict=False)
    )
    return (
        f'<a href="{escape(page["link"])}" tabindex="-1">'
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="6"/>'
        f'<text class="number" x="{middle:g}" y="{y + 18:g}">{number}</text>{words}</a>'
    )


# Thumbnails ---------------------------------------------------------------------


def thumbnail(svg: str) -> str:
    """Make a small picture of a figure: what is drawn, without what is written.

    The writing would be too small to read. Lines stay as thick as they are, though
    the whole becomes smaller.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.get("id", "")
            if (
                re.match(r"(text|legend|matplotlib\.axis)_", name)
                or child.tag == f"{{{SVG}}}metadata"
            ):
                parent.remove(child)
    frames = [
        [float(frame.get(side)) for side in ("x", "y", "width", "height")]
        for frame in root.iterfind(f".//{{{SVG}}}clipPath/{{{SVG}}}rect")
    ]
    if frames:
        left = min(x for x, _, _, _ in frames)
        top = min(y for _, y, _, _ in frames)
        right = max(x + width for x, _, width, _ in frames)
        bottom = max(y + height for _, y, _, height in frames)
        box = left, top, right - left, bottom - top
        root.set("viewBox", " ".join(f"{number:.1f}" for number in box))
    # What is shown has the thumbnail's proportions: the left or the upper part.
    root.set("preserveAspectRatio", "xMinYMin slice")
    root.set("width", str(THUMBNAIL[0]))
    root.set("height", str(THUMBNAIL[1]))
    style = ElementTree.SubElement(root, f"{{{SVG}}}style")
    style.text = "* { vector-effect: non-scaling-stroke; }"
    return ElementTree.tostring(root, encoding="unicode")
