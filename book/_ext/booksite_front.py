"""The front page: the map of what builds on what, and a thumbnail a chapter.

Nothing here is drawn by hand. The map follows from what each chapter's metadata
says that it needs, and a thumbnail is a figure of the chapter without its writing.
"""

import re
from html import escape
from xml.etree import ElementTree

# Sizes of the map in pixels: a chapter's box, and the gaps to the next one along
# the way and beside it. From left to right it has to fit the page's width.
BOX = {"across": (96, 54), "down": (104, 54)}
GAP = {"across": (22, 14), "down": (30, 8)}
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
        sentences.append(f"Chapters 1 to {spine} build on each other, in this order.")
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, wanted in sorted(direct.items()):
        if number > spine:
            groups.setdefault(tuple(wanted), []).append(number)
    for wanted, numbers in groups.items():
        verb = "builds" if len(numbers) == 1 else "build"
        ground = f"{verb} on {listing(wanted)}" if wanted else "can be read first"
        subject = listing(numbers)
        sentences.append(f"{subject[0].upper()}{subject[1:]} {ground}.")
    return " ".join(sentences)


def listing(numbers) -> str:
    """Return chapters as people list them: "chapters 8, 9 and 10"."""
    *first, last = map(str, numbers)
    return f"chapters {', '.join(first)} and {last}" if first else f"chapter {last}"


# The map ------------------------------------------------------------------------


def draw_map(pages: dict[int, dict], direct: dict[int, list[int]], down: bool) -> str:
    """Return the map as SVG, from left to right or from top to bottom.

    It is for the eyes: `in_words` says the same, and the table of chapters has
    the links for the keyboard. Colors come from book.css.

    Parameters
    ----------
    pages : dict
        Title and link of each chapter, by its number.
    direct : dict
        What each chapter builds on, from `direct_needs`.
    down : bool
        From top to bottom, for narrow screens.
    """
    rows = layers(direct)
    way = "down" if down else "across"
    box, (gap_along, gap_beside) = BOX[way], GAP[way]
    along, beside = (1, 0) if down else (0, 1)
    pitch_along, pitch_beside = box[along] + gap_along, box[beside] + gap_beside
    widest = max(map(len, rows))
    corners = {}
    for depth, row in enumerate(rows):
        for index, number in enumerate(row):
            corner = [0.0, 0.0]
            corner[along] = depth * pitch_along
            corner[beside] = (index + (widest - len(row)) / 2) * pitch_beside
            corners[number] = corner
    size = [0, 0]
    size[along] = len(rows) * pitch_along - gap_along + 2
    size[beside] = widest * pitch_beside - gap_beside + 2
    arrows = [
        _arrow(corners[start], corners[end], box, along)
        for end, starts in direct.items()
        for start in starts
    ]
    boxes = [_box(corners[n], box, n, pages[n]) for n in sorted(direct)]
    return (
        f'<svg class="{way}" aria-hidden="true" viewBox="-1 -1 {size[0]} {size[1]}" '
        f'width="{size[0]}" height="{size[1]}">{"".join(arrows + boxes)}</svg>'
    )


def _arrow(start: list[float], end: list[float], box, along: int) -> str:
    """Draw a line from the far edge of one box to the near edge of another."""
    points = [list(start), list(start), list(end), list(end)]
    for point in points:
        point[1 - along] += box[1 - along] / 2
    points[0][along] += box[along]
    points[1][along] = points[2][along] = (points[0][along] + end[along]) / 2
    first, *others = (f"{x:g},{y:g}" for x, y in points)
    x, y = points[-1]
    wings = [(-5, -3.5), (-5, 3.5)] if along == 0 else [(-3.5, -5), (3.5, -5)]
    head = "".join(f"M{x + dx:g},{y + dy:g}L{x:g},{y:g}" for dx, dy in wings)
    return f'<path d="M{first}C{" ".join(others)}{head}"/>'


def _box(corner: list[float], box, number: int, page: dict) -> str:
    """Draw a chapter's box, which leads to the chapter."""
    title = page["title"]
    lines, heights = [title], [40]
    if len(title) > LONG_TITLE and " " in title:
        cuts = [match.start() for match in re.finditer(" ", title)]
        cut = min(cuts, key=lambda place: abs(place - len(title) / 2))
        lines, heights = [title[:cut], title[cut + 1 :]], [32, 46]
    x, y = corner[0] + box[0] / 2, corner[1]
    words = "".join(
        f'<text x="{x:g}" y="{y + height:g}">{escape(line)}</text>'
        for line, height in zip(lines, heights, strict=True)
    )
    return (
        f'<a href="{escape(page["link"])}" tabindex="-1">'
        f'<rect x="{corner[0]:g}" y="{y:g}" width="{box[0]}" height="{box[1]}" rx="6"/>'
        f'<text class="number" x="{x:g}" y="{y + 18:g}">{number}</text>{words}</a>'
    )


# Thumbnails ---------------------------------------------------------------------


def thumbnail(svg: str) -> str:
    """Make a small picture of a figure: what is drawn, without what is written.

    The writing would be too small to read. Lines become thicker, since the whole
    becomes smaller.
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
    else:
        left, top, width, height = map(float, root.get("viewBox").split())
        right, bottom = left + width, top + height
    # What is shown has the thumbnail's proportions: the left or the upper part.
    scale = min((right - left) / THUMBNAIL[0], (bottom - top) / THUMBNAIL[1])
    width, height = (side * scale for side in THUMBNAIL)
    root.set("viewBox", f"{left:.1f} {top:.1f} {width:.1f} {height:.1f}")
    root.set("width", str(THUMBNAIL[0]))
    root.set("height", str(THUMBNAIL[1]))
    thicker = min(3.0, max(1.0, 1.2 * scale))
    return re.sub(
        r"stroke-width: ([\d.]+)",
        lambda match: f"stroke-width: {float(match[1]) * thicker:.2g}",
        ElementTree.tostring(root, encoding="unicode"),
    )
