"""Explorers (helpers/interactive.py): their frames become figures like the others.

A notebook's output carries each frame inside itself. On the site the frames are
files, one version for light and one for dark pages, and a browser loads those
that it shows.
"""

import base64
import hashlib
import posixpath
import re

from booksite_nodes import write_themes
from docutils import nodes
from sphinx.writers.html5 import HTML5Translator

# As helpers/interactive.py writes them.
EXPLORER = '<form class="explorer"'
FRAME = re.compile(r'<img src="data:image/svg\+xml;base64,([^"]+)"([^>]*)>')


def visit_raw(self, node) -> None:
    """Write HTML as it is, but an explorer's frames to files."""
    html = node.astext()
    if EXPLORER in html:
        node.children = [nodes.Text(place_frames(self.builder, html))]
    HTML5Translator.visit_raw(self, node)


def place_frames(builder, html: str) -> str:
    """Write every frame of an explorer; return the HTML that shows the files."""

    def place(match: re.Match) -> str:
        svg = base64.b64decode(match[1])
        stem = hashlib.sha256(svg).hexdigest()[:16]
        address = {
            theme: posixpath.join(builder.imgpath, name)
            for theme, name in write_themes(builder, stem, svg.decode()).items()
        }
        return (
            f'<picture><source srcset="{address["dark"]}" '
            f'media="(prefers-color-scheme: dark)"><img src="{address["light"]}"'
            f"{match[2]}></picture>"
        )

    return FRAME.sub(place, html)
